"""The command of an audit that does something so many times."""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tests.audit.report import Outcome, progress_of, write_outcomes

__all__ = ["CountedAudit", "run_counted"]


class CountedAudit(Protocol):
    """Does something ``count`` times below a folder, as the seed decides, and tells how far it is."""

    def __call__(self, folder: Path, *, count: int, seed: int, told: Callable[[int], None]) -> Outcome:
        """Run it."""
        ...


def run_counted(
    audit: CountedAudit, argv: Sequence[str] | None, *, about: str | None, name: str, flag: str, what: str, default: int
) -> int:
    """Run an audit with a progress bar, and print what was found; the exit status."""
    flags = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument(flag, dest="count", type=int, default=default, help=f"{what} (default {default:,})")
    flags.add_argument("--seed", type=int, default=1, help="decides what is done (default 1)")
    given = flags.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix=f"streamd-{name.replace(' ', '-')}-"))
    with progress_of(name, given.count) as told:
        outcome = audit(folder, count=given.count, seed=given.seed, told=told)
    return write_outcomes([outcome], folder)
