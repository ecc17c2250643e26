"""The lanes' own rules, with a dialect of the test's own: batches are bounded, and nobody is forgotten."""

import asyncio
import time
from collections.abc import Sequence

from streamd.core.limits import COMMIT_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.kinesis.codecs import JSON
from streamd.kinesis.plain_puts import PLAIN_BYTE_COUNT_MAX, PlainPut
from streamd.server.put_lanes import PutLanes

__all__: list[str] = []


class _Dialect:
    """Notes the batches and answers each put with its own key."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def answer_plain_puts(self, puts: Sequence[PlainPut]) -> list[Reply]:
        self.batches.append([put.stream_name for put in puts])
        await asyncio.sleep(0)
        return [Reply(200, b"", put.key) for put in puts]


class _Asker:
    """Keeps what it was answered."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def reply(self, reply: Reply) -> None:
        self.bodies.append(reply.body)


async def _answered(dialect: _Dialect, streams: Sequence[str]) -> list[_Asker]:
    """Put once to each of these streams, all at one time; the askers once every lane has run out."""
    lanes = PutLanes(dialect)
    askers = [_Asker() for _ in streams]
    async with asyncio.TaskGroup() as group:
        for place, (asker, stream) in enumerate(zip(askers, streams, strict=True)):
            put = PlainPut(stream, b"%d" % place, b"data", JSON, time.perf_counter())
            lanes.take(asker, put, group)
    return askers


async def test_a_batch_never_holds_more_than_one_commit_may() -> None:
    dialect = _Dialect()

    askers = await _answered(dialect, ["stream"] * 2_000)

    assert [asker.bodies for asker in askers] == [[b"%d" % place] for place in range(2_000)]
    assert max(map(len, dialect.batches)) * PLAIN_BYTE_COUNT_MAX <= COMMIT_BYTE_COUNT_MAX
    assert sum(map(len, dialect.batches)) == 2_000


async def test_a_batch_is_of_one_stream() -> None:
    dialect = _Dialect()

    askers = await _answered(dialect, ["a", "b", "a", "c", "b", "a"])

    assert sorted(dialect.batches) == [["a", "a", "a"], ["b", "b"], ["c"]]
    assert [asker.bodies for asker in askers] == [[b"%d" % place] for place in range(6)]
