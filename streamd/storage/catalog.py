"""The catalog: small documents by key, each with a version that is never given twice, changed by compare-and-set."""

import struct
from dataclasses import dataclass

import lmdb

from streamd.core.checksums import STAMP_BYTE_COUNT, stamped, unstamped
from streamd.errors import CatalogConflict, CatalogDamaged
from streamd.storage.environment import Environment

__all__ = ["Catalog", "Document"]

_VERSION = struct.Struct(">Q")
# Below every document's key, which are text: holds the last version given, so that a document that was deleted and
# made again never gets a version it had before.
_LAST_VERSION_KEY = b"\x00last-version"


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was at one version."""

    key: str
    version: int
    content: bytes


class Catalog:
    """The catalog's table of an environment."""

    def __init__(self, environment: Environment) -> None:
        self._table = environment.catalog

    def version(self, transaction: lmdb.Transaction, key: str) -> int | None:
        """Read a document's version alone; None when there is none."""
        value = transaction.get(key.encode(), db=self._table)
        return None if value is None else _version(value)

    def get(self, transaction: lmdb.Transaction, key: str) -> Document | None:
        """Read a document. Raises CatalogDamaged."""
        value = transaction.get(key.encode(), db=self._table)
        if value is None:
            return None
        content = unstamped(key.encode(), value)
        if content is None:
            raise CatalogDamaged(key)
        return Document(key, _version(value), content[_VERSION.size :])

    def versions(self, transaction: lmdb.Transaction, prefix: str) -> dict[str, int]:
        """Read the version of every document under a prefix, by key without the prefix."""
        start = prefix.encode()
        cursor = transaction.cursor(db=self._table)
        found: dict[str, int] = {}
        is_there = cursor.set_range(start)
        while is_there:
            key = bytes(cursor.key())
            if not key.startswith(start):
                break
            found[key[len(start) :].decode()] = _version(cursor.value())
            is_there = cursor.next()
        return found

    def documents(self, transaction: lmdb.Transaction, prefix: str, *, limit: int) -> list[Document]:
        """Read the documents under a prefix, in order of key. Raises CatalogDamaged for the first that is damaged."""
        start = prefix.encode()
        cursor = transaction.cursor(db=self._table)
        found: list[Document] = []
        is_there = cursor.set_range(start)
        while is_there and len(found) < limit:
            key, value = bytes(cursor.key()), cursor.value()
            if not key.startswith(start):
                break
            content = unstamped(key, value)
            if content is None:
                raise CatalogDamaged(key.decode())
            found.append(Document(key.decode(), _version(value), content[_VERSION.size :]))
            is_there = cursor.next()
        return found

    def scan(self, transaction: lmdb.Transaction, prefix: str, *, after: str = "", limit: int) -> list[str]:
        """List keys under a prefix in order, without the prefix, those above ``after`` only."""
        start = prefix.encode()
        cursor = transaction.cursor(db=self._table)
        found: list[str] = []
        is_there = cursor.set_range(start + after.encode())
        while is_there and len(found) < limit:
            key = bytes(cursor.key())
            if not key.startswith(start):
                break
            name = key[len(start) :].decode()
            if name > after or not after:
                found.append(name)
            is_there = cursor.next()
        return found

    def compare_and_set(
        self, transaction: lmdb.Transaction, key: str, content: bytes | None, *, expected: int | None
    ) -> int:
        """Write (or with None remove) a document if it still has the expected version (None: if there is none).

        Gives the new version. Raises CatalogConflict before any write.
        """
        if self.version(transaction, key) != expected:
            raise CatalogConflict(key)
        last = transaction.get(_LAST_VERSION_KEY, db=self._table)
        version = 1 if last is None else _version(last) + 1
        head = _VERSION.pack(version)
        transaction.put(_LAST_VERSION_KEY, stamped(_LAST_VERSION_KEY, head), db=self._table)
        if content is None:
            transaction.delete(key.encode(), db=self._table)
        else:
            transaction.put(key.encode(), stamped(key.encode(), head + content), db=self._table)
        return version


def _version(value: bytes | memoryview) -> int:
    """Read the version out of a value, unverified: a wrong one only leads to a look at the whole document."""
    return int(_VERSION.unpack_from(value, STAMP_BYTE_COUNT)[0])
