"""Becomes a function's process, from within its walls: ``python -I -S launcher.py FD``; standard library only.

Its order comes over the inherited socket, and not by arguments or variables: those are shown to others, and variables
like LD_PRELOAD must not act before the privileges are gone. As a *starter* it opens the two listeners where the
process can reach them, hands them out and becomes the command. As a *warden* it makes the command its child, stays
above it, reaps whatever descends from it, and ends all of that with the command, with its own parent, or on SIGTERM.

Modules are chosen for how fast they load: this is part of every cold start. The order is fields separated by NULs: the
numbers of ``_NUMBERS`` in one field; the folder to be in; each folder to cover; each path to show after that (``r`` or
``w`` and where it is, then where it is shown); the command; and for the rest the variables.
"""

import _signal as signal  # type: ignore[import-not-found]  # the stubs know only what stands on it
import os
import sys
from _socket import AF_INET, SCM_RIGHTS, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket

__all__ = ["GATEWAY_PORT", "RUNTIME_PORT", "launch"]

RUNTIME_PORT = 9001
GATEWAY_PORT = 4566
_BACKLOG = 128
_READ_BYTE_COUNT = 1 << 16
_NUMBERS = (
    *("uid", "data", "files", "processes", "file_size"),
    *("listens", "guards", "parent", "covers", "shows", "command"),
)

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18


class _Order:
    """What to become."""

    def __init__(self, text: bytes) -> None:
        fields = text.split(b"\0")
        self.number = dict(zip(_NUMBERS, map(int, fields[0].split()), strict=True))
        self.place = fields[1]
        rest = fields[2:]
        self.covers = [rest.pop(0) for _ in range(self.number["covers"])]
        self.shows = [(rest.pop(0), rest.pop(0)) for _ in range(self.number["shows"])]
        self.command = [rest.pop(0) for _ in range(self.number["command"])]
        self.variables = dict(variable.split(b"=", 1) for variable in rest)


def launch(descriptor: int) -> None:
    """Read the order and carry it out; does not return."""
    control = socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    # Whoever started this finds out first what it is to watch: what follows may be short.
    control.send(b"?")
    order = _Order(_read(control))
    if order.number["guards"]:
        _guard(order, control)
    if order.number["listens"]:
        ports = (RUNTIME_PORT, GATEWAY_PORT)
        listeners = [_listen(port) for port in ports]
        numbers = b"".join(listener.fileno().to_bytes(4, sys.byteorder) for listener in listeners)
        control.sendmsg([b"+"], [(SOL_SOCKET, SCM_RIGHTS, numbers)])
        for listener in listeners:
            listener.close()
    else:
        control.send(b"+")
    control.close()
    _become(order)


def _read(control: socket) -> bytes:
    parts = []
    while part := control.recv(_READ_BYTE_COUNT):
        parts.append(part)
    return b"".join(parts)


def _listen(port: int) -> socket:
    listener = socket(AF_INET, SOCK_STREAM)
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(_BACKLOG)
    return listener


def _become(order: _Order) -> None:
    import resource  # noqa: PLC0415 - a warden does without it

    number = order.number
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, number["files"]),
        (resource.RLIMIT_NPROC, number["processes"]),
        (resource.RLIMIT_DATA, number["data"]),
        (resource.RLIMIT_FSIZE, number["file_size"]),
    ):
        if value or limit == resource.RLIMIT_CORE:
            _lower(limit, value)
    if number["uid"]:
        os.setgroups([])
        os.setresgid(number["uid"], number["uid"], number["uid"])
        os.setresuid(number["uid"], number["uid"], number["uid"])
    try:
        if number["guards"]:
            # Not before the user changes: that would undo it.
            _control_process(_PR_SET_PDEATHSIG, signal.SIGKILL)
            _control_process(_PR_SET_NO_NEW_PRIVS, 1)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD, signal.SIGTERM))
        os.chdir(order.place)
        os.execve(_found(order), order.command, order.variables)  # noqa: S606 - what it is for
    except OSError as error:
        os.write(2, f"fork/exec {os.fsdecode(order.command[0])}: {os.strerror(error.errno or 0).lower()}\n".encode())
        os._exit(127)


def _found(order: _Order) -> bytes:
    """Look for the command on the process's own PATH; ``os.execvpe`` would load modules that it cannot reach by now."""
    name = order.command[0]
    if b"/" in name:
        return name
    places = [b"/".join((folder, name)) for folder in order.variables.get(b"PATH", b"").split(b":")]
    return next((place for place in places if os.access(place, os.X_OK)), name)


def _lower(limit: int, value: int) -> None:
    import resource  # noqa: PLC0415 - a warden does without it

    hard = resource.getrlimit(limit)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))


# The warden.


def _guard(order: _Order, control: socket) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD, signal.SIGTERM))
    _control_process(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != order.number["parent"]:
        os._exit(1)
    _control_process(_PR_SET_CHILD_SUBREAPER, 1)
    if order.shows:
        _hide(order)
    child = os.fork()
    if child == 0:
        control.close()
        os.setsid()
        _become(order)
    control.send(b"+")
    control.close()
    os.closerange(0, 3)
    status = None
    while status is None and signal.sigwait((signal.SIGCHLD, signal.SIGTERM)) == signal.SIGCHLD:
        status = _reap(child)
    status = _end_all(child, order.number["uid"], status)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def _reap(child: int) -> int | None:
    """Take leave of all that have ended; give the child's status if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _end_all(child: int, uid: int, status: int | None) -> int:
    """Kill until there are no children: orphans of any depth become this process's own."""
    while True:
        if status is None:
            # It may not have become the user yet.
            _kill(child)
        if uid:
            _kill_user(uid)
        else:
            for pid in _family(os.getpid()):
                _kill(pid)
        try:
            # One end is one step: whom it leaves behind is a child by then, and killed in the next.
            pid, ended = os.waitpid(-1, 0)
        except ChildProcessError:
            return signal.SIGKILL if status is None else status
        if pid == child:
            status = ended


def _kill_user(uid: int) -> None:
    """Kill all processes of a user that has none but these, at once: so no fork can escape."""
    killer = os.fork()
    if killer == 0:
        os.setresuid(uid, uid, uid)
        try:
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(killer, 0)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return


def _family(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:  # noqa: PTH123 - pathlib takes long to load
            children = [int(child) for child in file.read().split()]
    except OSError:
        return []
    return children + [member for child in children for member in _family(child)]


def _hide(order: _Order) -> None:
    """Cover folders that only the daemon's user may enter, and show beneath what the process needs of them."""
    library = _library()
    if library.unshare(_CLONE_NEWNS):
        raise OSError(library.last_error(), "unshare")
    _mount(b"none", b"/", b"", _MS_REC | _MS_PRIVATE, b"")
    held = [(os.open(source[1:], os.O_PATH), path, source[:1]) for source, path in order.shows]
    for cover in order.covers:
        _mount(b"tmpfs", cover, b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755,size=1m")
    for descriptor, path, mode in held:
        source = b"/proc/self/fd/%d" % descriptor
        if not os.path.lexists(path):
            is_folder = os.path.isdir(source)  # noqa: PTH112 - pathlib takes long to load
            os.makedirs(path if is_folder else os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            if not is_folder:
                os.close(os.open(path, os.O_CREAT))
        _mount(source, path, b"", _MS_BIND, b"")
        if mode == b"r":
            _mount(b"none", path, b"", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV, b"")
        os.close(descriptor)
    for cover in order.covers:
        _mount(b"none", cover, b"", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV, b"")


class _Library:
    """The C library: what Python's own modules do not reach."""

    def __init__(self) -> None:
        import ctypes  # noqa: PLC0415 - a starter does without it

        self._library = ctypes.CDLL(None, use_errno=True)
        self.last_error = ctypes.get_errno
        self.unshare = self._library.unshare
        self.mount = self._library.mount
        self.prctl = self._library.prctl
        self.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
        self.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


_libraries: list[_Library] = []


def _library() -> _Library:
    if not _libraries:
        _libraries.append(_Library())
    return _libraries[0]


def _mount(source: bytes, target: bytes, kind: bytes, flags: int, data: bytes) -> None:
    library = _library()
    if library.mount(source, target, kind, flags, data):
        raise OSError(library.last_error(), "mount", os.fsdecode(target))


def _control_process(option: int, value: int) -> None:
    library = _library()
    if library.prctl(option, value, 0, 0, 0):
        raise OSError(library.last_error(), "prctl")


if __name__ == "__main__":
    launch(int(sys.argv[1]))
