"""How deep in a chain of invocations something is, as trace headers tell it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.lineage import DEPTH_MAX, DEPTH_STORED_MAX, depth_of, is_too_deep, lineage

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


@given(st.integers(0, DEPTH_STORED_MAX))
def test_a_depth_is_read_back_from_a_trace_as_it_was_written(depth: int) -> None:
    assert depth_of(f"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;{lineage(depth, ARN)}") == depth


@pytest.mark.parametrize(
    ("trace", "depth"),
    [
        (None, 0),
        ("", 0),
        ("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", 0),
        ("Lineage=3:a87bd80c:1", 3),
        ("Root=1-5759e988-bd862e3fe1be46a994272793; Lineage=25:a87bd80c:1 ;Sampled=0", 25),
        ("Lineage=999999999:a87bd80c:1", DEPTH_STORED_MAX),
        ("Lineage=9999999999:a87bd80c:1", 0),
        ("Lineage=-1:a87bd80c:1", 0),
        ("Lineage=\u0663:a87bd80c:1", 0),
        ("Lineage=", 0),
        ("XLineage=4:a:1", 0),
    ],
)
def test_whatever_a_header_holds_is_a_depth(trace: str | None, depth: int) -> None:
    assert depth_of(trace) == depth


@given(st.text())
def test_no_header_is_too_odd_to_be_read(text: str) -> None:
    assert 0 <= depth_of(f"Lineage={text}") <= DEPTH_STORED_MAX


def test_a_chain_is_stopped_at_sixteen_but_what_tells_of_the_stop_runs_once() -> None:
    stopped = [depth for depth in range(DEPTH_STORED_MAX + 1) if is_too_deep(depth)]

    assert stopped == [DEPTH_MAX, *range(DEPTH_MAX + 2, DEPTH_STORED_MAX + 1)]
