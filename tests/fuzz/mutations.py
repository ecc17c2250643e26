"""Bytes that are nearly right: whole ones, cut, doubled, spliced and flipped, a few times over.

How many examples a test takes is set by ``STREAMD_FUZZ_EXAMPLES`` for a long audit (``python -m tests.fuzz``).
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

__all__ = ["cuts", "examples", "mutated"]

_EXAMPLES = os.environ.get("STREAMD_FUZZ_EXAMPLES")
_EDIT_COUNT_MAX = 5
_PIECE_BYTE_COUNT_MAX = 12
_COPY_BYTE_COUNT_MAX = 64


def examples(count: int) -> Callable[[Any], Any]:
    """Set how many examples a test takes, unless a long audit says another number."""
    return settings(
        max_examples=int(_EXAMPLES) if _EXAMPLES else count,
        deadline=None,
        derandomize=_EXAMPLES is None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def mutated(draw: st.DrawFn, whole: Sequence[bytes], *, words: Sequence[bytes] = ()) -> bytes:
    """Draw one of the whole ones with a few edits; ``words`` are put in where they hurt."""
    content = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, _EDIT_COUNT_MAX))):
        at = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(["flip", "cut", "put", "double", "end", "word"])):
            case "flip" if at < len(content):
                content[at] ^= draw(st.integers(1, 255))
            case "cut":
                del content[at : at + draw(st.integers(1, _COPY_BYTE_COUNT_MAX))]
            case "put":
                content[at:at] = draw(st.binary(min_size=1, max_size=_PIECE_BYTE_COUNT_MAX))
            case "double":
                size = draw(st.integers(1, _COPY_BYTE_COUNT_MAX))
                content[at:at] = content[at : at + size] * draw(st.integers(1, 4))
            case "end":
                del content[at:]
            case "word" if words:
                content[at:at] = draw(st.sampled_from(words))
            case _:
                pass
    return bytes(content)


@st.composite
def cuts(draw: st.DrawFn, content: bytes) -> list[bytes]:
    """Cut bytes in a few pieces, as a network may."""
    places = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    return [content[begin:end] for begin, end in zip([0, *places], [*places, len(content)], strict=True)]
