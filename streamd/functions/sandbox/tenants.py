"""The tenants of scratch folders: a user of its own for each environment, and a bounded file system for its /tmp.

A tenant is made with the first cell of a scratch folder and found again by the cells that follow it. It is gone with
``leave``, or, for who never says that, with the folder itself: that is looked at whenever another cell begins. The
file systems are mounted in a folder of ours and not on the scratch folder, which can so be removed by whoever made it.
What a daemon that was killed left mounted is unmounted by ``sweep``.
"""

import ctypes
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streamd.errors import SandboxFailed
from streamd.functions.sandbox.cells import Plan
from streamd.storage.private import make_private_folder

__all__ = ["Tenant", "Tenants", "can_mount"]

# Where no distribution puts users, nor the subordinate ones of /etc/subuid by default; wide, so that the ranges of two
# daemons hardly meet.
_UID_FIRST = 1_000_000_000
_UID_COUNT = 1 << 28
_FILE_COUNT_PER_MB = 256
_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2
_MS_REC, _MS_PRIVATE, _CLONE_NEWNS = 16384, 1 << 18, 0x20000


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who lives in a scratch folder (None: the daemon's own user) and what is its /tmp; whether its size is bounded."""

    uid: int | None
    place: Path
    is_bounded: bool


class Tenants:
    """Knows the tenant of each scratch folder. All methods block for a moment: mounts are system calls."""

    def __init__(self, folder: Path, *, has_users: bool, has_mounts: bool) -> None:
        self._folder = folder
        self._has_users = has_users
        self._has_mounts = has_mounts
        # Cells begin and end on many threads.
        self._lock = threading.Lock()
        self._tenant_by_scratch: dict[Path, Tenant] = {}

    def go_private(self) -> None:
        """Give the calling thread, and what it starts, mounts of its own; without the right to, nothing is mounted."""
        if not self._has_mounts:
            return
        library = ctypes.CDLL(None, use_errno=True)
        if library.unshare(_CLONE_NEWNS) or library.mount(
            b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None
        ):
            raise OSError(ctypes.get_errno(), "unshare")

    def sweep(self) -> None:
        """Unmount what a daemon that was killed left behind."""
        if not self._folder.is_dir():
            return
        for place in self._folder.iterdir():
            _remove(place)

    def enter(self, plan: Plan) -> Tenant:
        """Give the tenant of a plan's scratch folder. Raises SandboxFailed."""
        with self._lock:
            for scratch in [scratch for scratch in self._tenant_by_scratch if not scratch.exists()]:
                self._leave(scratch)
            if plan.scratch not in self._tenant_by_scratch:
                self._tenant_by_scratch[plan.scratch] = self._make(plan)
            return self._tenant_by_scratch[plan.scratch]

    def leave(self, scratch: Path) -> None:
        """Forget a scratch folder, and free what its /tmp holds; nothing may run in it any more."""
        with self._lock:
            self._leave(scratch)

    def _leave(self, scratch: Path) -> None:
        tenant = self._tenant_by_scratch.pop(scratch, None)
        if tenant is not None and tenant.place != scratch:
            _remove(tenant.place)

    def _make(self, plan: Plan) -> Tenant:
        try:
            return self._made(plan)
        except OSError as error:
            raise SandboxFailed(f"a scratch folder cannot be made: {error}") from error

    def _made(self, plan: Plan) -> Tenant:
        uid = self._free_uid() if self._has_users else None
        if not self._has_mounts:
            if uid is not None:
                os.chown(plan.scratch, uid, uid)
            return Tenant(uid, plan.scratch, is_bounded=False)
        make_private_folder(self._folder)
        place = self._folder / plan.scratch.name
        place.mkdir(mode=0o700)
        try:
            _mount_bounded(place, size_mb=plan.scratch_mb, uid=uid or 0)
        except OSError:
            place.rmdir()
            raise
        return Tenant(uid, place, is_bounded=True)

    def _free_uid(self) -> int:
        taken = {tenant.uid for tenant in self._tenant_by_scratch.values()}
        while (uid := _UID_FIRST + secrets.randbelow(_UID_COUNT)) in taken:
            continue
        return uid


def can_mount(folder: Path) -> bool:
    """Try whether file systems may be mounted here."""
    place = folder / f"probe-{secrets.token_hex(8)}"
    try:
        make_private_folder(folder)
        place.mkdir(mode=0o700)
        _mount_bounded(place, size_mb=1, uid=0)
    except OSError:
        return False
    finally:
        _remove(place)
    return True


def _mount_bounded(place: Path, *, size_mb: int, uid: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    # Each file costs memory of the kernel's that the size does not count.
    options = f"size={size_mb}m,nr_inodes={size_mb * _FILE_COUNT_PER_MB},mode=0700,uid={uid},gid={uid}".encode()
    if library.mount(b"streamd", bytes(place), b"tmpfs", ctypes.c_ulong(_MS_NOSUID | _MS_NODEV), options):
        raise OSError(ctypes.get_errno(), "mount", str(place))


def _remove(place: Path) -> None:
    ctypes.CDLL(None).umount2(bytes(place), _MNT_DETACH)
    with suppress(OSError):
        place.rmdir()
