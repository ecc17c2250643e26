"""The check of a data directory in a process of its own.

LMDB trusts its own pages: where one is damaged it may end the whole process, by an assertion or by reading past the end
of the file. Whoever asked for a check must be told of that damage too, and not fall with it.
"""

import multiprocessing
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from streamd.errors import ConfigInvalid
from streamd.storage.directory import DataDirectory
from streamd.storage.inspect import CheckReport, Fault, Progress, check

__all__ = ["check_apart"]


def check_apart(directory: Path, *, progress: Progress) -> CheckReport:
    """Verify everything, as ``check`` does. Raises ConfigInvalid and FormatUnknown."""
    DataDirectory(directory).require_known_format()
    # Not forked: the caller may have threads, and half of a thread's work must not come along.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(sender, directory), daemon=True)
    process.start()
    sender.close()
    try:
        return _report(receiver, progress)
    except EOFError:
        process.join()
        reason = f"its pages are damaged: reading them to the end ends the process ({_name_of(process.exitcode)})"
        return CheckReport(faults=[Fault("the log", reason)])
    finally:
        receiver.close()
        process.kill()
        process.join()


def _report(receiver: Connection, progress: Progress) -> CheckReport:
    """Hear how far the check is, and at last what it found. Raises EOFError when it ended without a word."""
    while True:
        match receiver.recv():
            case (int(done), int(total)):
                progress(done, total)
            case CheckReport() as report:
                return report
            case sentence:
                raise ConfigInvalid(str(sentence))


def _tell(sender: Connection, directory: Path) -> None:
    try:
        sender.send(check(directory, progress=lambda done, total: sender.send((done, total))))
    except ConfigInvalid as error:
        sender.send(str(error))


def _name_of(exit_code: int | None) -> str:
    return signal.Signals(-exit_code).name if exit_code is not None and exit_code < 0 else f"status {exit_code}"
