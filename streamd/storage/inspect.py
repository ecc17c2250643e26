"""Walks a data directory and says what it holds: every block's checksum, every shard's order, and the counts.

Works beside a running daemon (it only reads one frozen moment) and on a copy. It finds: a block whose checksum does
not match or whose header cannot be read, a gap or an overlap of positions, an arrival time that runs backwards, a
block of a shard the store does not know, counts that do not add up, a stream whose shards are not there, and code of
functions that is damaged or gone. Before all that it goes through the pages of the log itself, and where those are
damaged it looks no further: LMDB trusts them.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import lmdb
import orjson

from streamd.core.blocks import counted_byte_count, header_of, is_intact
from streamd.core.checksums import unstamped
from streamd.core.shard_tree import shard_id
from streamd.core.stream import Stream
from streamd.errors import ConfigInvalid, FormatUnknown, PagesDamaged
from streamd.storage.directory import DataDirectory
from streamd.storage.environment import Environment
from streamd.storage.packages import kept_packages
from streamd.storage.page_walk import PageWalk
from streamd.storage.shard_log import BLOCK_KEY, ShardKey, ShardLog, ShardState

__all__ = ["CheckReport", "Fault", "ShardStats", "check", "stats"]

_STREAM_PREFIX = b"stream/"
_CODE_PREFIXES = (b"function/", b"function-version/", b"layer/")
_VERSION_BYTE_COUNT = 8
_PROGRESS_STEP = 256
_ATTEMPT_COUNT_MAX = 100

Progress = Callable[[int, int], None]
"""Hears how many blocks are done, of how many."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it must be."""

    place: str
    reason: str


@dataclass(slots=True)
class CheckReport:
    """What a check found."""

    stream_count: int = 0
    shard_count: int = 0
    block_count: int = 0
    record_count: int = 0
    byte_count: int = 0
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStats:
    """What one shard holds; times are Unix milliseconds, None when it holds nothing."""

    stream_name: str
    shard_id: str
    is_open: bool
    record_count: int
    byte_count: int
    block_count: int
    oldest_ms: int | None
    newest_ms: int | None


@dataclass(slots=True)
class _Walk:
    """What was seen of one shard so far."""

    expected: int
    arrival_ms: int = 0
    oldest_ms: int | None = None
    block_count: int = 0
    record_count: int = 0
    byte_count: int = 0


def check(directory: Path, *, progress: Progress) -> CheckReport:
    """Verify everything. Raises ConfigInvalid and FormatUnknown when this is no data directory we can read."""
    report = CheckReport()
    environment = _open(directory)
    pages = PageWalk(DataDirectory(directory).log_path / "data.mdb")
    try:
        with _moment(environment, pages) as transaction:
            _check_pages(pages, report)
            if report.faults:
                return report
            _check_all(transaction, environment, report, progress)
            _check_packages(DataDirectory(directory).packages_path, _needed_packages(transaction, environment), report)
    except PagesDamaged as damage:
        report.faults.append(Fault("the log", f"it cannot be read to its end: {damage.reason}"))
    finally:
        pages.close()
        environment.close()
    return report


def stats(directory: Path) -> list[ShardStats]:
    """Count what each shard holds. Raises ConfigInvalid and FormatUnknown."""
    environment = _open(directory)
    try:
        with environment.read() as transaction:
            names = {stream.number: stream.name for stream in _streams(transaction, environment, [])}
            walks = _walks(transaction, environment)
            states = ShardLog(environment).states(transaction)
            return [
                _stats_of(shard, state, walks.get(shard, _Walk(0)), names)
                for shard, state in states
                if state is not None
            ]
    except PagesDamaged as damage:
        raise ConfigInvalid(f"the log in {directory} cannot be read to its end: {damage.reason}") from damage
    finally:
        environment.close()


@contextmanager
def _moment(environment: Environment, pages: PageWalk) -> Iterator[lmdb.Transaction]:
    """Open a read transaction whose commit the pages still tell of. Raises ConfigInvalid."""
    for _ in range(_ATTEMPT_COUNT_MAX):
        with environment.read() as transaction:
            if pages.find(transaction.id()):
                yield transaction
                return
    raise ConfigInvalid("the log cannot be looked at: its first pages do not tell of the commit that LMDB shows")


def _check_pages(pages: PageWalk, report: CheckReport) -> None:
    for page, reason in pages.go_through():
        place = "the log" if page is None else f"page {page} of the log"
        report.faults.append(Fault(place, f"its pages are damaged: {reason}"))


def _walks(transaction: lmdb.Transaction, environment: Environment) -> dict[ShardKey, _Walk]:
    """Count each shard's blocks, and note when the oldest and the newest arrived."""
    walks: dict[ShardKey, _Walk] = {}
    for key, value in transaction.cursor(db=environment.blocks):
        stream_number, index, position = BLOCK_KEY.unpack(key)
        walk = walks.setdefault(ShardKey(stream_number, index), _Walk(position))
        walk.block_count += 1
        try:
            header = header_of(value)
        except (FormatUnknown, struct.error):
            # A check tells of the damage; here it only hides when the block arrived.
            continue
        walk.oldest_ms = header.arrival_ms if walk.oldest_ms is None else walk.oldest_ms
        walk.arrival_ms = header.arrival_ms
    return walks


def _check_all(
    transaction: lmdb.Transaction, environment: Environment, report: CheckReport, progress: Progress
) -> None:
    states = _check_states(transaction, environment, report)
    report.shard_count = len(states)
    total = transaction.stat(environment.blocks)["entries"]
    names = _check_streams(transaction, environment, states, report)
    walks = {shard: _Walk(state.first_position) for shard, state in states.items()}
    for done, (key, value) in enumerate(transaction.cursor(db=environment.blocks)):
        _check_block(bytes(key), bytes(value), walks, names, report)
        if done % _PROGRESS_STEP == 0:
            progress(done, total)
    for shard, walk in walks.items():
        _check_totals(_place(shard, names), states[shard], walk, report)
    _check_entries(transaction, environment, report)
    progress(total, total)


def _stats_of(shard: ShardKey, state: ShardState, walk: _Walk, names: dict[int, str]) -> ShardStats:
    return ShardStats(
        stream_name=names.get(shard.stream_number, f"(deleted stream {shard.stream_number})"),
        shard_id=shard_id(shard.shard_index),
        is_open=state.is_open,
        record_count=state.live_record_count,
        byte_count=state.live_byte_count,
        block_count=walk.block_count,
        oldest_ms=walk.oldest_ms,
        newest_ms=walk.arrival_ms if walk.block_count else None,
    )


def _open(path: Path) -> Environment:
    directory = DataDirectory(path)
    directory.require_known_format()
    return Environment(directory.log_path, size_max=0, read_only=True)


def _streams(transaction: lmdb.Transaction, environment: Environment, faults: list[Fault]) -> Iterator[Stream]:
    for key, value in transaction.cursor(db=environment.catalog):
        content = unstamped(bytes(key), value)
        if content is None:
            faults.append(
                Fault(f"catalog document {bytes(key).decode(errors='replace')}", "its checksum does not match")
            )
        if content is None or not bytes(key).startswith(_STREAM_PREFIX):
            continue
        try:
            yield Stream.from_document(orjson.loads(content[_VERSION_BYTE_COUNT:]))
        except (ValueError, KeyError, TypeError) as error:
            name = bytes(key).decode(errors="replace")
            faults.append(Fault(f"catalog document {name}", f"it cannot be read: {error!r}"))


def _check_states(
    transaction: lmdb.Transaction, environment: Environment, report: CheckReport
) -> dict[ShardKey, ShardState]:
    states = {}
    for shard, state in ShardLog(environment).states(transaction):
        if state is None:
            report.faults.append(Fault(_place(shard, {}), "the shard's own record is damaged"))
        else:
            states[shard] = state
    return states


def _check_streams(
    transaction: lmdb.Transaction,
    environment: Environment,
    states: dict[ShardKey, ShardState],
    report: CheckReport,
) -> dict[int, str]:
    """Check that every shard a stream names is there; stream names by number."""
    names = {}
    for stream in _streams(transaction, environment, report.faults):
        report.stream_count += 1
        names[stream.number] = stream.name
        for shard in stream.tree:
            state = states.get(ShardKey(stream.number, shard.index))
            place = f"{stream.name}/{shard.id}"
            if state is None:
                report.faults.append(Fault(place, "the stream names this shard, but the store has no such shard"))
            elif shard.closing is not None and state.is_open:
                report.faults.append(Fault(place, "the stream says that it is closed, but it is not sealed"))
    return names


def _check_block(
    key: bytes, content: bytes, walks: dict[ShardKey, _Walk], names: dict[int, str], report: CheckReport
) -> None:
    stream_number, index, position = BLOCK_KEY.unpack(key)
    shard = ShardKey(stream_number, index)
    place = f"{_place(shard, names)} at position {position}"
    report.block_count += 1
    if not is_intact(content, key=key):
        report.faults.append(Fault(place, "the block's checksum does not match"))
    try:
        header = header_of(content)
    except (FormatUnknown, struct.error) as error:
        report.faults.append(Fault(place, f"the block's header cannot be read: {error}"))
        return
    byte_count = counted_byte_count(header, stored_byte_count=len(content))
    report.record_count += header.record_count
    report.byte_count += byte_count
    walk = walks.get(shard)
    if walk is None:
        report.faults.append(Fault(place, "the block belongs to no shard of the store"))
        return
    if position != walk.expected:
        report.faults.append(Fault(place, f"expected position {walk.expected} here"))
    if header.arrival_ms < walk.arrival_ms:
        report.faults.append(Fault(place, "it arrived before the block in front of it"))
    walk.expected = position + header.record_count
    walk.arrival_ms = header.arrival_ms
    walk.record_count += header.record_count
    walk.byte_count += byte_count


def _check_totals(place: str, state: ShardState, walk: _Walk, report: CheckReport) -> None:
    if walk.expected != state.next_position:
        reason = f"its blocks end before position {walk.expected}, but {state.next_position} is to be next"
        report.faults.append(Fault(place, reason))
    if walk.record_count != state.live_record_count:
        reason = f"it counts {state.live_record_count} records, its blocks hold {walk.record_count}"
        report.faults.append(Fault(place, reason))
    if walk.byte_count != state.live_byte_count:
        reason = f"it counts {state.live_byte_count} bytes, its blocks hold {walk.byte_count}"
        report.faults.append(Fault(place, reason))


def _needed_packages(transaction: lmdb.Transaction, environment: Environment) -> dict[str, str]:
    """Name the packages that functions and layers need: by hash, one of those that need it."""
    needed = {}
    for key, value in transaction.cursor(db=environment.catalog):
        content = unstamped(bytes(key), value) if bytes(key).startswith(_CODE_PREFIXES) else None
        if content is None:
            continue
        document = orjson.loads(content[_VERSION_BYTE_COUNT:])
        # A function holds its $LATEST; a version, and that of a layer, are what they say themselves.
        code = document.get("latest", document) if isinstance(document, dict) else {}
        if "code_sha256" in code:
            needed[str(code["code_sha256"])] = bytes(key).decode()
    return needed


def _check_packages(folder: Path, needed: dict[str, str], report: CheckReport) -> None:
    kept = dict(kept_packages(folder))
    for sha256, name in needed.items():
        if sha256 not in kept:
            report.faults.append(Fault(name, f"its code, the package {sha256}, is gone"))
    for sha256, is_intact_one in kept.items():
        if not is_intact_one:
            report.faults.append(Fault(f"package {sha256}", "its bytes have another hash"))


def _check_entries(transaction: lmdb.Transaction, environment: Environment, report: CheckReport) -> None:
    """Check that all that LMDB counts can be reached and found: damage to a page may hide entries without a trace."""
    for name, table in environment.tables.items():
        counted = transaction.stat(table)["entries"]
        search = transaction.cursor(db=table)
        reached_count = found_count = 0
        for key in transaction.cursor(db=table).iternext(keys=True, values=False):
            reached_count += 1
            found_count += search.set_key(bytes(key))
        if not counted == reached_count == found_count:
            reason = (
                f"it counts {counted} entries; {reached_count} can be reached, {found_count} are found by their keys"
            )
            report.faults.append(Fault(f"table {name}", reason))


def _place(shard: ShardKey, names: dict[int, str]) -> str:
    return f"{names.get(shard.stream_number, f'(stream {shard.stream_number})')}/{shard_id(shard.shard_index)}"
