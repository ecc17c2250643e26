"""The short form of the audit of flipped bits (`python -m tests.audit.flips`), and the check of damaged pages."""

import os
from pathlib import Path

import pytest

from tests.audit.flips import run_flip_audit
from tests.cli.shell import Shell
from tests.durability.golden_data import goldens

COUNT = int(os.environ.get("STREAMD_AUDIT_FLIPS", "120"))


@pytest.mark.timeout(120 + COUNT)
def test_a_flipped_bit_is_refused_or_reported_and_never_served(tmp_path: Path) -> None:
    outcome = run_flip_audit(tmp_path, count=COUNT, seed=1, told=lambda _done: None)

    assert outcome.faults == []
    assert outcome.figures["flipped bits"] == COUNT
    assert outcome.figures["the check said there are faults, some was refused"] > COUNT // 20


# In the golden directory of format 1, which never changes: where a page ends its list of entries, and a page's number.
@pytest.mark.parametrize(("place", "bit", "signal_name"), [(36_877, 0, "SIGABRT"), (61_485, 6, "SIGBUS")])
def test_damage_that_ends_the_process_that_reads_is_a_fault_that_the_check_tells(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, place: int, bit: int, signal_name: str
) -> None:
    data = goldens()[0].unpack(tmp_path)
    log = data / "log" / "data.mdb"
    content = bytearray(log.read_bytes())
    content[place] ^= 1 << bit
    log.write_bytes(content)
    shell = Shell(capfd, "")

    text, document = shell("data", "check", str(data)), shell("data", "check", str(data), "--json")

    assert (text.status, document.status) == (1, 1)
    assert "its pages are damaged" in text.out
    (fault,) = document.json()["faults"]
    assert fault["place"] == "the log"
    assert signal_name in fault["reason"]
