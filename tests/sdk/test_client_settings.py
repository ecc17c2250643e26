"""Region, keys and endpoint: the same answers as botocore gives for the same environment and files, case by case."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamd.core.sigv4 import Credentials
from streamd.errors import ConfigInvalid
from streamd.sdk.aws_files import AwsFiles, read_aws_files
from streamd.sdk.settings import find_settings

_ASK_BOTOCORE = """
import json, sys
import botocore.session
given = json.loads(sys.argv[1])
session = botocore.session.Session(profile=given["profile"])
client = session.create_client("kinesis", region_name=given["region"], endpoint_url=given["endpoint"])
keys = session.get_credentials().get_frozen_credentials()
print(json.dumps([client.meta.region_name, client.meta.endpoint_url, *keys[:3]]))
"""
_ASK_OURS = """
import asyncio, json, sys
from streamd.sdk.settings import settings_of_process
given = json.loads(sys.argv[1])
found = settings_of_process(**given)
keys = asyncio.run(found.credentials.credentials())
print(json.dumps([found.region, found.endpoint, keys.access_key_id, keys.secret, keys.session_token]))
"""
_KEYS = {"AWS_ACCESS_KEY_ID": "ENVID", "AWS_SECRET_ACCESS_KEY": "envsecret"}
_REGION = {"AWS_DEFAULT_REGION": "eu-west-1"}
_SHARED = "[default]\naws_access_key_id = SHAREDID\naws_secret_access_key = sharedsecret\n"
_EXPIRED = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "2001-01-01T00:00:00Z"}
_PROFILES = """
[default]
region = us-west-2
aws_access_key_id = CONFIGID
aws_secret_access_key = configsecret
[profile dev]
region = ap-south-1
endpoint_url = http://dev.example:4567
aws_access_key_id = DEVID
aws_secret_access_key = devsecret
aws_session_token = devtoken
[profile "two words"]
region = sa-east-1
aws_access_key_id = TWOID
aws_secret_access_key = twosecret
[profile local]
region = us-east-2
endpoint_url = http://everything.example
services = nearby
aws_access_key_id = LOCALID
aws_secret_access_key = localsecret
[services nearby]
dynamodb =
  endpoint_url = http://dynamodb.example
kinesis =
  endpoint_url = http://127.0.0.1:4567
[profile ignoring]
region = us-east-2
endpoint_url = http://everything.example
ignore_configured_endpoint_urls = TRUE
aws_access_key_id = LOCALID
aws_secret_access_key = localsecret
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to set things."""

    environment: dict[str, str] = field(default_factory=dict)
    config: str | None = None
    shared: str | None = None
    region: str | None = None
    endpoint: str | None = None
    profile: str | None = None

    def arguments(self) -> str:
        return json.dumps({"region": self.region, "endpoint": self.endpoint, "profile": self.profile})


CASES = {
    "all from the environment": Case(environment=_KEYS | _REGION),
    "a session token": Case(environment=_KEYS | _REGION | {"AWS_SESSION_TOKEN": "t"}),
    "the older name of the token": Case(
        environment=_KEYS | _REGION | {"AWS_SECURITY_TOKEN": "o", "AWS_SESSION_TOKEN": "t"}
    ),
    "region by argument": Case(environment=_KEYS | _REGION, region="eu-central-1"),
    "China": Case(environment=_KEYS, region="cn-north-1"),
    "Europe's own": Case(environment=_KEYS, region="eusc-de-east-1"),
    "government": Case(environment=_KEYS, region="us-gov-west-1"),
    "isolated": Case(environment=_KEYS, region="us-iso-east-1"),
    "isolated b": Case(environment=_KEYS, region="us-isob-east-1"),
    "isolated e": Case(environment=_KEYS, region="eu-isoe-west-1"),
    "isolated f": Case(environment=_KEYS, region="us-isof-south-1"),
    "a region of tomorrow": Case(environment=_KEYS, region="eu-north-9"),
    "endpoint by argument": Case(environment=_KEYS | _REGION | {"AWS_ENDPOINT_URL": "http://e"}, endpoint="http://a:1"),
    "endpoint of everything": Case(environment=_KEYS | _REGION | {"AWS_ENDPOINT_URL": "http://e.example"}),
    "endpoint of Kinesis": Case(
        environment=_KEYS | _REGION | {"AWS_ENDPOINT_URL": "http://e", "AWS_ENDPOINT_URL_KINESIS": "http://k:1"}
    ),
    "endpoints ignored": Case(
        environment=_KEYS
        | _REGION
        | {"AWS_ENDPOINT_URL_KINESIS": "http://k", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    ),
    "endpoints not ignored": Case(
        environment=_KEYS
        | _REGION
        | {"AWS_ENDPOINT_URL_KINESIS": "http://k", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"}
    ),
    "endpoints ignored by the profile": Case(config=_PROFILES, profile="ignoring"),
    "endpoint of the service before the profile's": Case(config=_PROFILES, profile="local"),
    "endpoint of the environment before the file's": Case(
        config=_PROFILES, environment={"AWS_PROFILE": "local", "AWS_ENDPOINT_URL": "http://e.example"}
    ),
    "the default profile": Case(config=_PROFILES),
    "keys of the credentials file before the config's": Case(config=_PROFILES, shared=_SHARED),
    "keys of the environment before all files": Case(config=_PROFILES, shared=_SHARED, environment=_KEYS),
    "region of the environment before the file's": Case(config=_PROFILES, environment=_REGION),
    "a profile by its variable": Case(config=_PROFILES, environment={"AWS_PROFILE": "dev"}),
    "a profile by boto3's own variable": Case(
        config=_PROFILES, environment={"AWS_PROFILE": "local", "AWS_DEFAULT_PROFILE": "dev"}
    ),
    "keys of the environment beside a profile's region": Case(
        config=_PROFILES, environment=_KEYS | {"AWS_PROFILE": "dev"}
    ),
    "a profile by argument before keys of the environment": Case(
        config=_PROFILES, profile="dev", environment=_KEYS | {"AWS_PROFILE": "local"}
    ),
    "a profile of two words": Case(config=_PROFILES, profile="two words"),
    "a profile that only the credentials file has": Case(
        shared=_SHARED.replace("default", "alone") + "region = eu-west-3\n", environment={"AWS_PROFILE": "alone"}
    ),
    "an empty variable is no variable": Case(
        config=_PROFILES, environment={"AWS_ACCESS_KEY_ID": "", "AWS_ENDPOINT_URL": ""}
    ),
}


def environment_of(case: Case, home: Path) -> dict[str, str]:
    found = {"HOME": str(home), "PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", **case.environment}
    for name, text, variable in (
        ("config", case.config, "AWS_CONFIG_FILE"),
        ("credentials", case.shared, "AWS_SHARED_CREDENTIALS_FILE"),
    ):
        (home / name).write_text(text or "")
        found[variable] = str(home / name)
    return found


def told(program: str, case: Case, environment: dict[str, str]) -> Any:
    ended = subprocess.run(
        [sys.executable, "-c", program, case.arguments()],
        capture_output=True,
        check=False,
        env={**environment, "PYTHONPATH": str(Path.cwd())},
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout)


@pytest.mark.parametrize("name", CASES)
def test_the_answers_are_botocore_s(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    environment = environment_of(case, tmp_path)

    ours, botocore_s = told(_ASK_OURS, case, environment), told(_ASK_BOTOCORE, case, environment)

    assert ours == botocore_s


def test_keys_that_a_command_prints_are_botocore_s_too(tmp_path: Path) -> None:
    document = {"Version": 1, "AccessKeyId": "P", "SecretAccessKey": "s", "SessionToken": "t"}
    document["Expiration"] = "2099-01-01T00:00:00Z"
    script = tmp_path / "print keys.py"
    script.write_text(f"print({json.dumps(document)!r})")
    command = shlex.join([sys.executable, str(script)])
    case = Case(config=f"[default]\nregion = eu-west-1\ncredential_process = {command}\n")
    environment = environment_of(case, tmp_path)

    ours, botocore_s = told(_ASK_OURS, case, environment), told(_ASK_BOTOCORE, case, environment)

    assert ours == botocore_s == ["eu-west-1", "https://kinesis.eu-west-1.amazonaws.com", "P", "s", "t"]


def test_files_are_found_in_the_home_directory_like_botocore_does(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(_PROFILES)
    (tmp_path / ".aws/credentials").write_text(_SHARED)
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    case = Case()

    ours, botocore_s = told(_ASK_OURS, case, environment), told(_ASK_BOTOCORE, case, environment)

    assert ours == botocore_s
    assert ours[2] == "SHAREDID"


@pytest.mark.parametrize(
    ("printed", "sentence"),
    [
        ("print('no json')", "something else than keys"),
        ("print('{\"Version\": 1}')", "something else than keys"),
        ('print(\'{"Version": 2, "AccessKeyId": "a", "SecretAccessKey": "b"}\')', "Version 2"),
        (
            f"print({json.dumps(_EXPIRED)!r})",
            "expired at 2001",
        ),
        ("import sys; sys.exit('the vault is shut')", "the vault is shut"),
    ],
)
async def test_a_command_that_prints_no_keys_is_told(tmp_path: Path, printed: str, sentence: str) -> None:
    script = tmp_path / "keys.py"
    script.write_text(printed)
    files = AwsFiles(configured={"default": {"credential_process": f"{sys.executable} {script}"}})
    settings = find_settings({}, files, region="us-east-1")

    with pytest.raises(ConfigInvalid, match=sentence):
        await settings.credentials.credentials()


@pytest.mark.parametrize(
    ("section", "environment", "sentence"),
    [
        ({"sso_session": "s", "sso_account_id": "1", "sso_role_name": "r"}, {}, "SSO"),
        ({"role_arn": "arn:aws:iam::1:role/r", "source_profile": "x"}, {}, "assumes a role"),
        ({"login_session": "x"}, {}, "aws login"),
        ({}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/f", "AWS_ROLE_ARN": "r"}, "web identity"),
        ({}, {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}, "container"),
        ({}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"}, "container"),
        ({}, {}, "IMDS"),
        ({"use_fips_endpoint": "true"}, _KEYS, "use_fips_endpoint"),
        ({}, _KEYS | {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "use_dualstack_endpoint"),
        ({"services": "gone"}, _KEYS, "services 'gone'"),
        ({"aws_access_key_id": "half"}, {}, "aws_secret_access_key"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(
    section: dict[str, str], environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigInvalid, match=sentence):
        find_settings(environment, AwsFiles(configured={"default": section}), region="us-east-1")


def test_a_region_is_needed_for_aws_itself_and_must_be_one() -> None:
    with pytest.raises(ConfigInvalid, match="no region is set"):
        find_settings(_KEYS, AwsFiles())
    with pytest.raises(ConfigInvalid, match="no name of a region"):
        find_settings(_KEYS, AwsFiles(), region="evil.example/")


def test_a_profile_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="no profile 'gone'"):
        find_settings({"AWS_PROFILE": "gone"}, AwsFiles())


async def test_a_server_of_one_s_own_needs_neither_region_nor_keys() -> None:
    settings = find_settings({}, AwsFiles(), endpoint="http://127.0.0.1:4567")

    assert settings.region == "us-east-1"
    assert (await settings.credentials.credentials()).access_key_id == "streamd"


async def test_the_other_sdks_variable_of_the_region_is_read_too() -> None:
    given = Credentials("id", "secret")

    settings = find_settings({"AWS_REGION": "eu-west-2"}, AwsFiles(), credentials=given)

    assert settings.endpoint == "https://kinesis.eu-west-2.amazonaws.com"
    assert await settings.credentials.credentials() == given


@pytest.mark.parametrize("text", ["no section = 1", "[default]\ns3 =\n  no equals sign\n", "[a]\n[a]\n"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)

    with pytest.raises(ConfigInvalid, match="cannot be read"):
        read_aws_files({"AWS_CONFIG_FILE": str(tmp_path / "config"), "HOME": str(tmp_path)})
