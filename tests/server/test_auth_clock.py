"""Signatures under a clock that is wrong: judged by what it says, and by nothing that was found before."""

from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.durability.wall_clock import HOUR_S, WallClock
from tests.kinesis.refusals import refusal

__all__: list[str] = []

KEY = Credentials("AKIDPRODUCER", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
JSON = "application/x-amz-json-1.1"


def test_a_signature_is_refused_while_the_clock_is_wrong_and_taken_again_when_it_is_right(
    daemon_factory: DaemonFactory, tmp_path: Path, clock: WallClock
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[key]]\nid = "{KEY.access_key}"\nsecret = "{KEY.secret_key}"\n')
    keys.chmod(0o600)
    daemon = daemon_factory("--auth", str(keys), environment=clock.environment)
    kinesis = daemon.client(access_key=KEY.access_key, secret_key=KEY.secret_key)
    before = signed(daemon)

    def answers() -> list[Any]:
        """Send what was signed before, again, and a new request."""
        again = raw(daemon.url, "DescribeLimits", b"{}", **before)
        if again.status == 200:
            return [again.status, kinesis.describe_limits()["OpenShardCount"]]
        return [again.json()["message"], *refusal(kinesis.describe_limits)]

    right = answers()
    clock.jump(HOUR_S)
    ahead = answers()
    clock.jump(-2 * HOUR_S)
    back = answers()
    clock.jump(HOUR_S)
    clock.freeze()
    right_again = answers()

    assert right == right_again == [200, 0]
    assert ahead[1] == back[1] == "InvalidSignatureException"
    for sentence in (ahead[0], ahead[2]):
        assert sentence.startswith("Signature expired: ")
        assert sentence.endswith(" - 5 min.)")
    for sentence in (back[0], back[2]):
        assert sentence.startswith("Signature not yet current: ")
        assert sentence.endswith(" + 5 min.)")


def signed(daemon: Daemon) -> dict[str, str]:
    """Sign a request now; the headers that it is sent with."""
    headers = {"X-Amz-Target": "Kinesis_20131202.DescribeLimits", "Content-Type": JSON}
    request = AWSRequest("POST", f"{daemon.url}/", headers=headers, data=b"{}")
    SigV4Auth(KEY, "kinesis", "us-east-1").add_auth(request)
    return {
        "Authorization": request.headers["Authorization"],
        "X_Amz_Date": request.headers["X-Amz-Date"],
    }
