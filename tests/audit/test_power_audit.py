"""The short form of the power audit (`python -m tests.audit.power`), and the proof that it can fail."""

import os
from pathlib import Path
from random import Random

import pytest

from tests.audit.power import run_power_audit
from tests.audit.writes import Cut, Fate, Write, image_of
from tests.durability.preloads import has_compiler

IMAGE_COUNT = int(os.environ.get("STREAMD_AUDIT_IMAGES", "100"))

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler here to make the recorder")


@needs_compiler
@pytest.mark.timeout(120 + IMAGE_COUNT)
def test_every_image_that_a_power_cut_may_leave_holds_what_was_acknowledged(tmp_path: Path) -> None:
    outcome = run_power_audit(tmp_path, image_count=IMAGE_COUNT, seed=1, told=lambda _done: None, acknowledged=500)

    assert outcome.faults == []
    assert outcome.figures["images"] == IMAGE_COUNT
    assert outcome.figures["records read"] > IMAGE_COUNT
    assert outcome.figures["writes and syncs recorded"] > IMAGE_COUNT


@needs_compiler
def test_a_daemon_that_only_says_that_it_syncs_is_found_out(tmp_path: Path) -> None:
    outcome = run_power_audit(
        tmp_path, image_count=80, seed=1, told=lambda _done: None, acknowledged=200, is_synced=False
    )

    assert any("is lost" in fault for fault in outcome.faults)


@pytest.mark.parametrize("fate", Fate)
def test_an_image_is_what_was_on_disk_and_only_unsure_writes_beside_it(fate: Fate) -> None:
    on_disk = bytearray(b"d" * 4096)
    cut = Cut(0, on_disk, [Write(1024, b"1" * 1024), Write(4096, b"2" * 600)])

    images = {image_of(cut, fate, Random(seed)) for seed in range(40)}

    for image in images:
        assert image[:1024] == image[2048:][:1024] == b"d" * 1024
        assert set(image[1024:2048]) <= set(b"d1")
        assert set(image[4096:]) <= set(b"2\0")
    assert on_disk == b"d" * 4096
    assert (len(images) == 1) is (fate in {Fate.KEPT, Fate.DROPPED})
