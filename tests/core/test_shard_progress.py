"""Progress as it is stored: what is written is read again, and little is written while little goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.shard_progress import LaneMarks, LaneProgress, PartMark, ShardProgress, WindowState
from streamd.errors import FormatUnknown

NUMBERS = st.integers(0, 10**56).map(str)
PARTS = st.builds(PartMark, NUMBERS, NUMBERS, st.integers(0, 10_000))
LANES = st.builds(LaneProgress, st.none() | NUMBERS, st.lists(PARTS, max_size=3).map(tuple))
MARKS = st.builds(LaneMarks, st.lists(st.none() | NUMBERS, min_size=1, max_size=10).map(tuple))
WINDOWS = st.builds(
    WindowState,
    start_ms=st.integers(0, 10**13),
    end_ms=st.integers(0, 10**13),
    state=st.sampled_from([b"{}", '{"Köln":1}'.encode()]),
    last_number=NUMBERS,
    last_arrival_ms=st.integers(0, 10**13),
    is_early=st.booleans(),
    failure_count=st.integers(0, 10_000),
)
PROGRESS = st.builds(
    ShardProgress,
    checkpoint=st.none() | NUMBERS,
    lanes=st.lists(LANES, max_size=10).map(tuple),
    older=st.lists(MARKS, max_size=2).map(tuple),
    window=st.none() | WINDOWS,
    is_done=st.booleans(),
)


@given(PROGRESS)
def test_progress_is_read_as_it_was_written(progress: ShardProgress) -> None:
    assert ShardProgress.decode(progress.encode()) == progress


def test_lanes_in_which_nothing_goes_on_take_no_space() -> None:
    progress = ShardProgress(checkpoint="1" * 56, lanes=(LaneProgress(),) * 10)

    assert len(progress.encode()) < 100


def test_progress_of_a_later_format_is_refused() -> None:
    with pytest.raises(FormatUnknown):
        ShardProgress.decode(b'{"v":2,"n":1}')
