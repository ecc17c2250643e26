"""The short form of the audit of histories (`python -m tests.audit.histories`)."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.audit.histories import main, run_history_audit
from tests.audit.history import Event, read_history, write_history
from tests.audit.history_clients import Unanswered, make_history
from tests.daemons import Daemon


class _Deadly(list[Event]):
    """A history that ends the daemon in its midst."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self._daemon = daemon

    def append(self, event: Event) -> None:
        super().append(event)
        if len(self) == 20:
            self._daemon.kill()


COUNT = int(os.environ.get("STREAMD_AUDIT_HISTORIES", "40"))


@pytest.mark.timeout(120 + COUNT)
def test_one_order_of_all_calls_explains_what_concurrent_clients_were_answered(tmp_path: Path) -> None:
    outcome = run_history_audit(tmp_path, count=COUNT, seed=1, told=lambda _done: None)

    assert outcome.faults == []
    assert outcome.figures["histories, 1 workers"] == outcome.figures["histories, 3 workers"] == COUNT // 2
    # Calls one after another would prove nothing, nor would reads of nothing.
    assert outcome.figures["calls that overlap another one"] > 10 * COUNT
    assert outcome.figures["records read"] > 10 * COUNT
    assert outcome.figures["reshards"] > COUNT // 4
    assert outcome.figures["workers killed"] > 0


async def test_a_daemon_that_dies_over_a_history_is_told(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory()
    events = _Deadly(daemon)

    with pytest.raises(ExceptionGroup) as caught:
        await make_history(daemon.port, "doomed", Random(1), events)

    assert caught.group_contains(Unanswered)
    assert [event for event in events if event.returned_ns is None], "the history does not tell what was unanswered"


def test_a_history_that_was_kept_can_be_judged_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    created = Event(
        client=0, called_ns=1, returned_ns=2, operation="CreateStream", request={"ShardCount": 1}, answer={}
    )
    refused = Event(
        client=1, called_ns=3, returned_ns=4, operation="ListShards", request={}, refusal="ResourceNotFoundException"
    )
    write_history(tmp_path / "good.ndjson", [created])
    write_history(tmp_path / "bad.ndjson", [refused, created])

    assert read_history(tmp_path / "bad.ndjson") == [created, refused]
    assert main(["--check", str(tmp_path / "good.ndjson")]) == 0
    assert capsys.readouterr().out == "linearizable\n"
    assert main(["--check", str(tmp_path / "bad.ndjson")]) == 1
    assert "ListShards {} ResourceNotFoundException: nothing allows this refusal" in capsys.readouterr().out
