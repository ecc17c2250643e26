"""The data directory: made private, locked against a second daemon, stamped with a format version.

Layout: ``FORMAT`` (the version, decimal), ``lock`` (held by flock while any process of the daemon lives), ``log/``
(LMDB), ``counters/`` (LMDB, emptied at each start), ``functions/`` (packages, logs, scratch folders),
``token.secret`` and ``master.key`` (32 bytes each, mode 0600).
"""

import fcntl
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import IO, Self

from streamd.errors import ConfigInvalid, DirectoryInUse, FormatUnknown
from streamd.storage.private import open_private

__all__ = ["SECRET_NAMES", "DataDirectory", "read_secret_text"]

FORMAT_VERSION = "1"
SECRET_NAMES = ("token.secret", "master.key")
_SECRET_BYTE_COUNT = 32
_LOCK_PATIENCE_S = 5.0
# A supervisor that was killed leaves workers that first let the requests in hand finish, for up to ten seconds.
_ORPHAN_PATIENCE_S = 20.0
_LOCK_PAUSE_S = 0.05


def read_secret_text(path: Path) -> str:
    """Read a small text file that the user named, such as the access keys. Raises ConfigInvalid."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"cannot read {path}: {error}") from error


class DataDirectory:
    """One data directory. Opening it for serving takes its lock; inspecting it does not."""

    def __init__(self, path: Path) -> None:
        # Functions start in places of their own, from where a relative path leads elsewhere.
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    @property
    def log_path(self) -> Path:
        """Where the log's LMDB environment lives."""
        return self.path / "log"

    @property
    def counters_path(self) -> Path:
        """Where the short-lived counters live."""
        return self.path / "counters"

    @property
    def functions_path(self) -> Path:
        """Where functions have their packages, logs and scratch folders."""
        return self.path / "functions"

    @property
    def packages_path(self) -> Path:
        """Where the functions' code is kept."""
        return self.functions_path / "code"

    @property
    def function_logs_path(self) -> Path:
        """Where what functions printed is kept."""
        return self.functions_path / "logs"

    def open(self) -> Self:
        """Make the directory if needed, lock it and check its format.

        Raises DirectoryInUse, FormatUnknown, and ConfigInvalid when it cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self._check_format()
            self.log_path.mkdir(mode=0o700, exist_ok=True)
            self.functions_path.mkdir(mode=0o700, exist_ok=True)
            shutil.rmtree(self.counters_path, ignore_errors=True)
            self.counters_path.mkdir(mode=0o700)
        except OSError as error:
            self.close()
            raise ConfigInvalid(f"cannot use {self.path} as data directory: {error}") from error
        except (ConfigInvalid, FormatUnknown):
            self.close()
            raise
        return self

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def known_format(self) -> str:
        """Read the format version without locking. Raises ConfigInvalid when this is no data directory."""
        try:
            return (self.path / "FORMAT").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigInvalid(f"{self.path} is not a streamd data directory: {error}") from error

    def require_known_format(self) -> None:
        """Check that this version can read the directory. Raises FormatUnknown and ConfigInvalid."""
        found = self.known_format()
        if found != FORMAT_VERSION:
            raise FormatUnknown(f"data directory {self.path}", found=found, known=FORMAT_VERSION)

    def stamp(self) -> None:
        """Write the format version: from then on it is a data directory."""
        _write_durably(self.path / "FORMAT", f"{FORMAT_VERSION}\n".encode())

    def token_secret(self) -> bytes:
        """Give the secret that iterators are signed with, made on first use."""
        return self._secret(self.path / "token.secret")

    def master_key(self, path: Path | None) -> bytes:
        """Give the key that wraps data keys: the user's file, or our own made on first use. Raises ConfigInvalid."""
        if path is None:
            return self._secret(self.path / "master.key")
        try:
            key = path.read_bytes()
        except OSError as error:
            raise ConfigInvalid(f"cannot read the master key {path}: {error}") from error
        if len(key) != _SECRET_BYTE_COUNT:
            raise ConfigInvalid(f"master key {path} holds {len(key)} bytes; it must hold {_SECRET_BYTE_COUNT}")
        if path.stat().st_mode & 0o077:
            raise ConfigInvalid(f"master key {path} is open to other users; run: chmod 600 {path}")
        return key

    def _take_lock(self) -> None:
        # It is held open for as long as the lock is.
        lock = open(self.path / "lock", "a+", encoding="ascii", opener=open_private)  # noqa: SIM115
        started = time.monotonic()
        while not _try_lock(lock):
            lock.seek(0)
            holder = lock.read().strip()
            patience_s = _LOCK_PATIENCE_S if _is_running(holder) else _ORPHAN_PATIENCE_S
            if time.monotonic() - started > patience_s:
                lock.close()
                raise DirectoryInUse(str(self.path), f"process {holder or 'unknown'}")
            time.sleep(_LOCK_PAUSE_S)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _check_format(self) -> None:
        stamp = self.path / "FORMAT"
        if stamp.exists():
            self.require_known_format()
            return
        if self.log_path.exists():
            raise ConfigInvalid(f"{self.path} holds a log but no FORMAT file: refusing to guess what wrote it")
        self.stamp()

    def _secret(self, path: Path) -> bytes:
        if not path.exists():
            # Workers that need it first at the same moment must not each make one: what the loser sealed were lost.
            with open(self.path / "secrets.lock", "a", opener=open_private) as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                if not path.exists():
                    _write_durably(path, secrets.token_bytes(_SECRET_BYTE_COUNT))
        found = path.read_bytes()
        if len(found) != _SECRET_BYTE_COUNT:
            raise ConfigInvalid(f"{path} holds {len(found)} bytes; it must hold {_SECRET_BYTE_COUNT}")
        return found


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_running(holder: str) -> bool:
    """Tell whether the process that wrote its id into the lock is there; one we may not signal is there too."""
    if not holder.isdigit():
        return False
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write_durably(path: Path, content: bytes) -> None:
    """Write a whole file or none of it, readable by its owner only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(draft, "wb", opener=open_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
