"""What processes print: lines, pieces, allowances, tails and frames."""

from hypothesis import given
from hypothesis import strategies as st

from streamd.functions.environments.output import LINE_BYTE_COUNT_MAX, TAIL_BYTE_COUNT_MAX, Frames, Lines


class Kept:
    """Keeps lines, and moves the time by hand."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.times: list[int | None] = []
        self.now_s = 0.0

    def take(self, line: bytes, time_ms: int | None) -> None:
        self.lines.append(line)
        self.times.append(time_ms)

    def open(self) -> Lines:
        return Lines(self.take, now_s=lambda: self.now_s)


def frame(message: bytes, *, micros: int = 5_000, kind: int = 0xA55A0003) -> bytes:
    return kind.to_bytes(4) + len(message).to_bytes(4) + micros.to_bytes(8) + message


@given(st.lists(st.text("ab\r é", max_size=20), max_size=20), st.integers(1, 50))
def test_lines_come_out_as_they_went_in_however_they_are_cut(texts: list[str], size: int) -> None:
    kept = Kept()
    lines = kept.open()
    printed = "".join(f"{text}\n" for text in texts).encode()

    for start in range(0, len(printed), size):
        lines.feed(printed[start : start + size])
    lines.flush()

    assert kept.lines == [text.encode() for text in texts]
    assert lines.tail() == printed[-TAIL_BYTE_COUNT_MAX:]


def test_a_line_of_any_length_is_bounded_and_whole() -> None:
    kept = Kept()
    lines = kept.open()

    for _ in range(20):
        lines.feed(b"q" * 50_000)
    lines.feed(b"\nnext\n")

    assert max(len(line) for line in kept.lines) == LINE_BYTE_COUNT_MAX
    assert b"".join(kept.lines[:-1]) == b"q" * 1_000_000
    assert kept.lines[-1] == b"next"


def test_past_the_allowance_lines_are_counted_and_time_fills_it_again() -> None:
    kept = Kept()
    lines = kept.open()
    piece = b"w" * 999 + b"\n"

    for _ in range(20_000):
        lines.feed(piece)
    kept_at_first = len(kept.lines)
    kept.now_s = 10.0
    lines.feed(b"again\n")

    assert 7_000 < kept_at_first < 9_000
    dropped = 20_000 - kept_at_first
    assert kept.lines[-2:] == [f"[streamd] {dropped} lines ({dropped * 1000} bytes) were not kept".encode(), b"again"]


def test_the_tail_is_right_even_when_nothing_is_kept() -> None:
    kept = Kept()
    lines = kept.open()
    for _ in range(10_000):
        lines.feed(b"w" * 1999 + b"\n")

    lines.feed(b"the end\n")

    assert lines.tail().endswith(b"w\nthe end\n")
    assert len(lines.tail()) == TAIL_BYTE_COUNT_MAX


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=8), st.integers(1, 40))
def test_frames_come_out_as_they_went_in_however_they_are_cut(messages: list[bytes], size: int) -> None:
    kept = Kept()
    frames = Frames(kept.open())
    written = b"".join(frame(message) for message in messages)

    for start in range(0, len(written), size):
        frames.feed(written[start : start + size])

    assert kept.lines == [message.removesuffix(b"\n") for message in messages]
    assert set(kept.times) == {5}


def test_a_frame_that_says_it_is_huge_holds_no_more_than_a_line() -> None:
    kept = Kept()
    frames = Frames(kept.open())
    frames.feed(b"\xa5\x5a\x00\x03" + (10_000_000).to_bytes(4) + bytes(8))

    for _ in range(100):
        frames.feed(b"h" * 100_000)
    frames.feed(frame(b"after"))

    assert [len(line) for line in kept.lines] == [LINE_BYTE_COUNT_MAX, 5]


def test_what_is_no_frame_is_kept_as_if_it_were_printed() -> None:
    kept = Kept()
    lines = kept.open()

    Frames(lines).feed(b"no frame, but a line of text\n")

    assert kept.lines == [b"no frame, but a line of text"]
