"""Inputs: where the demo's posts come from, and how the direct count gets to see them a second time.

Generated posts are made again from their seed, and a file is read again: a path that shares nothing with the
replay. What can be read only once (standard input, a named pipe) is counted while it is replayed, before
anything is sent. The files are the user's own, which is why this module opens them and not the daemon's
storage.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamd.demo.failures import InputChanged
from streamd.demo.generator import generate_posts
from streamd.demo.posts import Post, read_posts

__all__ = ["PostInput", "file_input", "generated_input", "standard_input"]


@dataclass(frozen=True, slots=True)
class PostInput:
    """A source of posts: ``read`` begins it, piece by piece, and again if it can be read again."""

    label: str
    read: Callable[[], Iterator[Sequence[Post]]]
    is_rereadable: bool


def generated_input(seed: int, names: Sequence[str], *, post_count: int) -> PostInput:
    """Make posts from a seed."""
    return PostInput(
        f"generated posts, seed {seed}",
        lambda: _first(generate_posts(seed, names), post_count),
        is_rereadable=True,
    )


def file_input(path: Path, *, post_count_max: int | None) -> PostInput:
    """Read posts from a file, or once from something else that has a path.

    Raises OSError if it cannot be read; its ``read`` raises InputChanged if the file is another one the
    second time.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        return PostInput(
            str(path), lambda: _first(_posts_of_path(path, str(path)), post_count_max), is_rereadable=False
        )
    os.close(os.open(path, os.O_RDONLY))
    before = _state_of(path)

    def read() -> Iterator[Sequence[Post]]:
        yield from _first(_posts_of_path(path, str(path)), post_count_max)
        if _state_of(path) != before:
            raise InputChanged(f"{path} was changed while it was replayed: give the demo a file that stays as it is")

    return PostInput(str(path), read, is_rereadable=True)


def standard_input(*, post_count_max: int | None) -> PostInput:
    """Read posts from standard input as they arrive."""
    return PostInput(
        "standard input",
        lambda: _first(_posts_of_path(0, "standard input"), post_count_max),
        is_rereadable=False,
    )


def _posts_of_path(path: Path | int, source: str) -> Iterator[Sequence[Post]]:
    # Unbuffered: a buffer would wait until it is full, and hold a lock that a reader blocked at exit never
    # gives back.
    with open(path, "rb", buffering=0, closefd=path != 0) as file:
        yield from read_posts(file, source=source)


def _state_of(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _first(pieces: Iterator[Sequence[Post]], post_count: int | None) -> Iterator[Sequence[Post]]:
    """Give the first posts of an input, all of them when no count is given."""
    if post_count is None:
        yield from pieces
        return
    rest = post_count
    for piece in pieces:
        yield piece[:rest]
        rest -= len(piece)
        if rest <= 0:
            return
