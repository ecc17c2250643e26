"""The short form of the audit of flipped bits (`python -m tests.audit.flips`), and the check of damaged pages."""

import os
import struct
from pathlib import Path

import pytest

from tests.audit.flips import aged_golden, judged, run_flip_audit
from tests.cli.shell import Shell
from tests.durability.golden_data import goldens

COUNT = int(os.environ.get("STREAMD_AUDIT_FLIPS", "120"))


@pytest.mark.timeout(120 + COUNT)
def test_a_flipped_bit_is_refused_or_reported_and_never_served(tmp_path: Path) -> None:
    outcome = run_flip_audit(tmp_path, count=COUNT, seed=1, told=lambda _done: None)

    assert outcome.faults == []
    assert outcome.figures["flipped bits"] == COUNT
    assert outcome.figures["the check said there are faults, some was refused"] > COUNT // 20


def test_a_search_that_damaged_keys_lead_astray_skips_nothing(tmp_path: Path) -> None:
    data = aged_golden(tmp_path)
    log = data / "log" / "data.mdb"
    whole = log.read_bytes()
    outcomes = set()
    # The keys by which pages of blocks are found are a stream, a shard and a position: the last byte of the last two.
    for place in (end - back for end in _ends_of_keys(whole) for back in (8, 0)):
        for bit in (0, 2, 4):
            content = bytearray(whole)
            content[place] ^= 1 << bit
            log.write_bytes(content)
            (data / "log" / "lock.mdb").unlink(missing_ok=True)
            outcomes.add(judged(data))

    assert outcomes == {
        ("there are faults", "some was refused"),
        ("there are faults", "all was read"),
        ("no fault", "all was read"),
    }


# In the golden directory of format 1, which never changes: where a page ends its list of entries, a page's number, the
# kind of a page, where the list of free pages begins, how many pages there are, and the number of a commit.
@pytest.mark.parametrize(
    ("place", "bit", "damaged"),
    [
        (36_877, 0, "page 9 of the log"),
        (61_485, 6, "page 15 of the log"),
        (65_547, 0, "page 16 of the log"),
        (65_550, 4, "page 16 of the log"),
        (4_176, 6, "page 18446744073709551551 of the log"),
        (4_232, 1, "the log"),
        (4_240, 1, "the log"),
    ],
)
def test_pages_that_do_not_fit_together_are_a_fault_that_the_check_tells(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, place: int, bit: int, damaged: str
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
    assert fault["place"] == damaged


def test_damage_that_ends_the_process_that_opens_is_a_fault_that_the_check_tells(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = goldens()[0].unpack(tmp_path)
    log = data / "log" / "data.mdb"
    content = bytearray(log.read_bytes())
    # Where the first table's entry lies in its page, which LMDB looks at before anybody else can.
    content[65_553] ^= 1 << 4
    log.write_bytes(content)

    said = Shell(capfd, "")("data", "check", str(data), "--json")

    assert said.status == 1
    (fault,) = said.json()["faults"]
    assert "ends the process (SIGBUS)" in fault["reason"]


def _ends_of_keys(content: bytes) -> list[int]:
    """Find the last bytes of the keys in the pages that lead to others; of the first of each there is none."""
    places = []
    for start in range(0, len(content), 4096):
        flags, lower = struct.unpack_from("<10xHH", content, start)
        if flags != 1:
            continue
        for (entry,) in struct.iter_unpack("<H", content[start + 18 : start + lower]):
            (key_byte_count,) = struct.unpack_from("<6xH", content, start + entry)
            places.append(start + entry + 8 + key_byte_count - 1)
    return places
