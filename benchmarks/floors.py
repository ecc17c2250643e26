"""The floor of batched puts: what their bytes cost in tight loops, with no HTTP and no server around them.

A loop takes the body of a PutRecords request and does what no server of the API can leave out: parse the JSON, decode
the base64, hash each partition key and choose its shard, hash the body as a verified signature needs it, write the
records to LMDB with a synced commit, and write the answer. Commits run on a thread of their own beside the parsing,
and a commit takes what was parsed while the one before synced: a loop that waited for every sync would be a floor that
a server could fall through. Processes share one store, as workers do.
"""

import struct
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import md5, sha256
from multiprocessing import get_context
from pathlib import Path
from threading import Event

import lmdb
import orjson
import pybase64

from benchmarks.kinesis_calls import KinesisPuts, PutShape

__all__ = ["Step", "floor_rate", "step_durations"]

_MAP_BYTE_COUNT = 1 << 37
_SHARD_COUNT = 4
_PENDING_BYTE_COUNT_MAX = 16 << 20
_START_S = 1.5
_STEP_S = 0.2
_SEQUENCE_NUMBER = 49680482006432985965644636149293367248512820883505545234
_ENTRY = '{"SequenceNumber":"%d","ShardId":"shardId-%012d"}'


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a request, and the milliseconds that it takes."""

    name: str
    duration_ms: float


def floor_rate(shape: PutShape, *, process_count: int, is_hashed: bool, seconds: float, folder: Path) -> float:
    """Run the loops in so many processes for so long; bytes of record data a second that were committed."""
    folder.mkdir(parents=True)
    begin_s = time.time() + _START_S
    with ProcessPoolExecutor(process_count, mp_context=get_context("spawn")) as executor:
        runs = [
            executor.submit(
                _committed_count,
                shape,
                number,
                is_hashed=is_hashed,
                begin_s=begin_s,
                seconds=seconds,
                folder=folder,
            )
            for number in range(process_count)
        ]
        request_count = sum(run.result() for run in runs)
    return request_count * shape.record_count * shape.record_byte_count / seconds


def step_durations(shape: PutShape, folder: Path) -> list[Step]:
    """Measure each step of one request alone."""
    folder.mkdir(parents=True)
    body = _bodies(shape)[0]
    records = orjson.loads(body)["Records"]
    data = [pybase64.b64decode(record["Data"]) for record in records]
    keys = [record["PartitionKey"].encode() for record in records]
    values = _values(keys, data)
    environment = _opened(folder)
    try:
        return [
            Step("parse the JSON (orjson)", _duration_ms(lambda: orjson.loads(body))),
            Step("decode the base64 (pybase64)", _duration_ms(lambda: _data_of(records))),
            Step("hash the partition keys (MD5)", _duration_ms(lambda: [md5(key).digest() for key in keys])),  # noqa: S324
            Step("hash the body (SHA-256)", _duration_ms(lambda: sha256(body).hexdigest())),
            Step("choose shards, join records", _duration_ms(lambda: _values(keys, data))),
            Step("write the answer", _duration_ms(lambda: _answer(len(keys)))),
            Step("commit and sync (LMDB)", _duration_ms(lambda: _commit(environment, 0, 0, [values]))),
        ]
    finally:
        environment.close()


def _committed_count(
    shape: PutShape, number: int, *, is_hashed: bool, begin_s: float, seconds: float, folder: Path
) -> int:
    """Run one loop from a moment on; the requests that were committed in its time."""
    bodies = _bodies(shape)
    environment = _opened(folder)
    Event().wait(max(0.0, begin_s - time.time()))
    try:
        with ThreadPoolExecutor(1) as committer:
            return _Loop(environment, committer, number).run(bodies, is_hashed=is_hashed, seconds=seconds)
    finally:
        environment.close()


class _Loop:
    """Parses and commits at the same time."""

    def __init__(self, environment: lmdb.Environment, committer: ThreadPoolExecutor, number: int) -> None:
        self._environment = environment
        self._committer = committer
        self._number = number
        self._pending: list[list[bytes]] = []
        self._pending_byte_count = 0
        self._commit: Future[int] | None = None
        self._commit_count = 0
        self._committed_count = 0

    def run(self, bodies: Sequence[bytes], *, is_hashed: bool, seconds: float) -> int:
        """Run for so long."""
        deadline_s = time.perf_counter() + seconds
        place = 0
        while time.perf_counter() < deadline_s:
            self._pending.append(_worked(bodies[place % len(bodies)], is_hashed=is_hashed))
            self._pending_byte_count += sum(map(len, self._pending[-1]))
            place += 1
            is_full = self._pending_byte_count > _PENDING_BYTE_COUNT_MAX
            if self._commit is None or self._commit.done() or is_full:
                self._turn_over()
        # What is still being committed came too late to count.
        return self._committed_count

    def _turn_over(self) -> None:
        """Count the commit before, and begin the next with all that waits."""
        if self._commit is not None:
            self._committed_count += self._commit.result()
        pending, self._pending, self._pending_byte_count = self._pending, [], 0
        self._commit = self._committer.submit(_commit, self._environment, self._number, self._commit_count, pending)
        self._commit_count += 1


def _worked(body: bytes, *, is_hashed: bool) -> list[bytes]:
    """Do with a request all that comes before and after its commit; its values to store."""
    if is_hashed:
        sha256(body).hexdigest()
    records = orjson.loads(body)["Records"]
    keys = [record["PartitionKey"].encode() for record in records]
    values = _values(keys, _data_of(records))
    _answer(len(keys))
    return values


def _data_of(records: list[dict[str, str]]) -> list[bytes]:
    decode = pybase64.b64decode
    return [decode(record["Data"], validate=True) for record in records]


def _values(keys: list[bytes], data: list[bytes]) -> list[bytes]:
    """Route records to shards and join those of each into one value."""
    places: list[list[int]] = [[] for _ in range(_SHARD_COUNT)]
    for place, key in enumerate(keys):
        places[md5(key).digest()[0] * _SHARD_COUNT >> 8].append(place)  # noqa: S324  # Kinesis routes by MD5
    return [_joined([keys[i] for i in found], [data[i] for i in found]) for found in places if found]


def _joined(keys: list[bytes], data: list[bytes]) -> bytes:
    lengths = struct.pack(f"<{len(keys)}H{len(data)}I", *map(len, keys), *map(len, data))
    return b"".join([lengths, *keys, *data])


def _answer(count: int) -> bytes:
    entries = ",".join([_ENTRY % (_SEQUENCE_NUMBER + place, place % _SHARD_COUNT) for place in range(count)])
    return f'{{"FailedRecordCount":0,"Records":[{entries}]}}'.encode()


def _commit(environment: lmdb.Environment, number: int, commit: int, pending: list[list[bytes]]) -> int:
    """Write and sync; the requests that were in it."""
    with environment.begin(write=True) as transaction:
        for place, values in enumerate(pending):
            for shard, value in enumerate(values):
                transaction.put(struct.pack(">IQII", shard, commit, place, number), value)
    return len(pending)


def _opened(folder: Path) -> lmdb.Environment:
    return lmdb.open(str(folder), map_size=_MAP_BYTE_COUNT)


def _bodies(shape: PutShape) -> list[bytes]:
    return KinesisPuts(port=0, stream="puts-0", shape=shape, is_signed=False).bodies()


def _duration_ms(run: Callable[[], object]) -> float:
    """Time one call, by as many as fit into a moment."""
    count = 0
    start_s = now_s = time.perf_counter()
    while now_s - start_s < _STEP_S:
        run()
        count += 1
        now_s = time.perf_counter()
    return (now_s - start_s) / count * 1000
