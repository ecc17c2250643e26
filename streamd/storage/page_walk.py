"""The pages of the log's file, looked at without LMDB.

LMDB trusts its pages, and they have no checksums: a damaged one may end whoever meets it, hide entries, or have a page
that is in use written over, when it is the list of free pages that is damaged. So everything that pages say of each
other is held together here: their own numbers and kinds, the bounds and the order of their keys, what each table
counts, and that every page is used once or free once. The layout is that of LMDB 0.9, little-endian, 64 bits.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["PageFault", "PageWalk"]

_META_PAGE_COUNT: Final = 2
_META_BYTE_COUNT: Final = 16 + 24 + 2 * 48 + 16
_MAGIC: Final = 0xBEEF_C0DE
_NO_PAGE: Final = (1 << 64) - 1
_LOOK_COUNT_MAX: Final = 20
_FAULT_COUNT_MAX: Final = 100

_HEAD: Final = struct.Struct("<QHHHH")
_OVERFLOW_HEAD: Final = struct.Struct("<QHHI")
_TABLE: Final = struct.Struct("<IHHQQQQQ")
_NODE: Final = struct.Struct("<HHHH")
_NUMBER: Final = struct.Struct("<Q")

_BRANCH, _LEAF, _OVERFLOW, _META = 1, 2, 4, 8
_IS_FAR, _IS_TABLE = 1, 2
_USED, _FREE = 1, 2


class PageFault(NamedTuple):
    """A page, and what is not as it must be; None stands for what no single page tells."""

    page: int | None
    reason: str


class _Damaged(Exception):
    """This page cannot be gone through."""


class _Table(NamedTuple):
    """What a table says of itself."""

    page_byte_count: int
    flags: int
    depth: int
    branch_count: int
    leaf_count: int
    overflow_count: int
    entry_count: int
    root: int


class _Meta(NamedTuple):
    """One of the two pages at the beginning, which commits write in turn."""

    page_byte_count: int
    free: _Table
    main: _Table
    last_page: int
    commit: int


class _Node(NamedTuple):
    key: bytes
    flags: int
    child: int
    data: bytes


@dataclass(slots=True)
class _Seen:
    """What was seen of one table."""

    branch_count: int = 0
    leaf_count: int = 0
    overflow_count: int = 0
    entry_count: int = 0
    tables: list[tuple[bytes, _Table]] = field(default_factory=list)
    values: list[tuple[int, bytes]] = field(default_factory=list)


class PageWalk:
    """The pages as one commit left them. While a read transaction holds that moment, none of them changes."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_RDONLY)
        self._page_byte_count = 4096
        self._marks = bytearray()
        self._meta: _Meta | None = None
        self.faults: list[PageFault] = []

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def find(self, commit: int) -> bool:
        """Find where a commit's pages begin; False when two later ones have written over it."""
        # Read twice: what is being written over may come half and half.
        told = [meta for meta in self._metas() if meta.commit == commit]
        self._meta = told[0] if told and told[0] in self._metas() else None
        return self._meta is not None

    def go_through(self) -> list[PageFault]:
        """Go through everything that the commit left that was found; what is wrong."""
        assert self._meta is not None
        meta = self._meta
        self._check_turns()
        self._marks = bytearray(meta.last_page + 1)
        self._marks[:_META_PAGE_COUNT] = bytes([_USED]) * _META_PAGE_COUNT
        free = self._table("of free pages", meta.free, is_numbered=True)
        main = self._table("of tables", meta.main)
        for name, table in main.tables:
            self._table(name.decode(errors="replace"), table)
        for page, value in free.values:
            self._check_free(page, value)
        lost = self._marks.count(0)
        if lost and not self.faults:
            self._tell(None, f"{lost} of {len(self._marks)} pages are neither used nor free")
        return self.faults

    def _metas(self) -> list[_Meta]:
        metas = []
        for page in range(_META_PAGE_COUNT):
            content = os.pread(self._descriptor, _META_BYTE_COUNT, page * self._page_byte_count)
            if len(content) < _META_BYTE_COUNT or int.from_bytes(content[16:20], "little") != _MAGIC:
                continue
            free = _Table(*_TABLE.unpack_from(content, 40))
            main = _Table(*_TABLE.unpack_from(content, 88))
            if page == 0:
                self._page_byte_count = free.page_byte_count
            metas.append(_Meta(free.page_byte_count, free, main, *struct.unpack_from("<QQ", content, 136)))
        return metas

    def _check_turns(self) -> None:
        """Check that commits wrote the two pages in turn: one that claims another number would hide the last commit."""
        # Another process may commit in the very moment: what is damaged stays so.
        for _ in range(_LOOK_COUNT_MAX):
            metas = self._metas()
            if len(metas) == _META_PAGE_COUNT:
                commits = [meta.commit for meta in metas]
                are_whole = all(meta.page_byte_count == self._page_byte_count for meta in metas)
                if are_whole and (commits == [0, 0] or (abs(commits[0] - commits[1]) == 1 and commits[1] % 2)):
                    return
        self._tell(None, "the two pages at the beginning do not tell of two commits after each other")

    def _table(self, name: str, table: _Table, *, is_numbered: bool = False) -> _Seen:
        seen, fault_count = _Seen(), len(self.faults)
        if table.root != _NO_PAGE:
            self._go_into(table.root, seen, depth=table.depth, low=None, high=None, is_numbered=is_numbered)
        told = (table.branch_count, table.leaf_count, table.overflow_count, table.entry_count)
        counted = (seen.branch_count, seen.leaf_count, seen.overflow_count, seen.entry_count)
        if told != counted and len(self.faults) == fault_count:
            whats = "branch pages, leaf pages, overflow pages and entries"
            self._tell(None, f"table {name} says that it has {told} {whats}, and has {counted}")
        return seen

    def _go_into(
        self, page: int, seen: _Seen, *, depth: int, low: bytes | None, high: bytes | None, is_numbered: bool
    ) -> None:
        """Go through a page and all below it, whose keys lie between two others."""
        try:
            nodes = list(self._nodes(page, is_branch=depth > 1))
            self._check_order(nodes, low, high, is_branch=depth > 1, is_numbered=is_numbered)
            if depth <= 1:
                seen.leaf_count += 1
                seen.entry_count += len(nodes)
                for node in nodes:
                    self._take(page, node, seen, is_numbered=is_numbered)
                return
        except _Damaged as damage:
            self._tell(page, str(damage))
            return
        seen.branch_count += 1
        bounds = [low, *(node.key for node in nodes[1:]), high]
        for place, node in enumerate(nodes):
            self._go_into(
                node.child,
                seen,
                depth=depth - 1,
                low=bounds[place],
                high=bounds[place + 1],
                is_numbered=is_numbered,
            )

    def _nodes(self, page: int, *, is_branch: bool) -> Iterator[_Node]:
        self._mark(page, 1)
        content = self._read(page, 1)
        number, _, flags, lower, upper = _HEAD.unpack_from(content)
        if number != page:
            raise _Damaged(f"it says that it is page {number}")
        if flags != (_BRANCH if is_branch else _LEAF):
            raise _Damaged(f"it is of the kind {flags:#x}")
        if not _HEAD.size <= lower <= upper <= len(content) or lower % 2:
            raise _Damaged(f"its entries end at {lower} and {upper}")
        count = (lower - _HEAD.size) // 2
        if count < 1 + is_branch:
            raise _Damaged(f"it has {count} entries")
        for place in struct.unpack_from(f"<{count}H", content, _HEAD.size):
            if not upper <= place <= len(content) - _NODE.size:
                raise _Damaged(f"an entry of it is at {place}")
            low, high, node_flags, key_byte_count = _NODE.unpack_from(content, place)
            start = place + _NODE.size + key_byte_count
            size = 0 if is_branch else low | high << 16
            held = _NUMBER.size if node_flags & _IS_FAR and not is_branch else size
            if start + held > len(content):
                raise _Damaged(f"the entry at {place} ends outside of it")
            key = content[place + _NODE.size : start]
            if is_branch:
                yield _Node(key, 0, low | high << 16 | node_flags << 32, b"")
            elif node_flags & ~(_IS_FAR | _IS_TABLE):
                raise _Damaged(f"the entry at {place} is of the kind {node_flags:#x}")
            else:
                yield _Node(key, node_flags, size, content[start : start + held])

    def _check_order(
        self, nodes: list[_Node], low: bytes | None, high: bytes | None, *, is_branch: bool, is_numbered: bool
    ) -> None:
        keys = [node.key for node in nodes]
        if is_branch:
            # Nobody looks at its first key: that of the page above holds.
            keys = keys[1:] if low is None else [low, *keys[1:]]
        elif low is not None and keys[0] != low:
            keys = [low, *keys]
        if high is not None:
            keys.append(high)
        if is_numbered:
            if any(len(key) != _NUMBER.size for key in keys):
                raise _Damaged("a key of it is no number")
            keys = [key[::-1] for key in keys]
        if any(first >= second for first, second in pairwise(keys)):
            raise _Damaged("its keys are not in their order")

    def _take(self, page: int, node: _Node, seen: _Seen, *, is_numbered: bool) -> None:
        data = node.data
        if node.flags & _IS_FAR:
            start, byte_count = int.from_bytes(data, "little"), node.child
            count = (byte_count + _HEAD.size - 1) // self._page_byte_count + 1
            seen.overflow_count += count
            self._mark(start, count)
            head = os.pread(self._descriptor, _HEAD.size, start * self._page_byte_count)
            number, _, flags, told = _OVERFLOW_HEAD.unpack(head)
            if (number, flags, told) != (start, _OVERFLOW, count):
                raise _Damaged(f"page {start}, where an entry of it goes on, does not say that it holds {count} pages")
            if is_numbered:
                data = self._read(start, count)[_HEAD.size :][:byte_count]
        if node.flags & _IS_TABLE:
            if len(data) != _TABLE.size:
                raise _Damaged("a table of it is none")
            seen.tables.append((node.key, _Table(*_TABLE.unpack(data))))
        if is_numbered:
            seen.values.append((page, data))

    def _check_free(self, page: int, value: bytes) -> None:
        """Note pages that are free: their count, and then their numbers, from the highest to the lowest."""
        numbers = [number for (number,) in _NUMBER.iter_unpack(value)] if len(value) % _NUMBER.size == 0 else []
        try:
            if not numbers or numbers[0] != len(numbers) - 1:
                raise _Damaged("a list of free pages on it has another length")
            if any(first <= second for first, second in pairwise(numbers[1:])):
                raise _Damaged("a list of free pages on it is not in its order")
            for number in numbers[1:]:
                self._mark(number, 1, _FREE)
        except _Damaged as damage:
            self._tell(page, str(damage))

    def _mark(self, page: int, count: int, kind: int = _USED) -> None:
        """Note pages as used or free. Raises _Damaged when they are one of these already, or not there."""
        end = page + count
        if not _META_PAGE_COUNT <= page <= end <= len(self._marks):
            raise _Damaged(f"page {page} and {count - 1} after it are not there")
        if self._marks[page:end].strip(b"\0"):
            raise _Damaged(f"page {page}, or one of the {count - 1} after it, is used or free twice")
        self._marks[page:end] = bytes([kind]) * count

    def _read(self, page: int, count: int) -> bytes:
        wanted = count * self._page_byte_count
        content = os.pread(self._descriptor, wanted, page * self._page_byte_count)
        if len(content) < wanted:
            raise _Damaged("the file ends before it does")
        return content

    def _tell(self, page: int | None, reason: str) -> None:
        if len(self.faults) < _FAULT_COUNT_MAX:
            self.faults.append(PageFault(page, reason))
