"""Several layers as one folder: a later layer's file takes the place of an earlier one's, as if unpacked in order.

Folders that only one layer has are shown as they are; a folder that several have is made, and filled with theirs.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["merged"]


def merged(layers: Sequence[Path], place: str) -> Iterator[str]:
    """Give the arguments for bubblewrap that show layers at a place."""
    folders = [layer for layer in layers if layer.is_dir()]
    if len(folders) == 1:
        yield from ("--ro-bind", str(folders[0]), place)
        return
    yield from ("--dir", place)
    names = sorted({entry.name for folder in folders for entry in folder.iterdir()})
    for name in names:
        entries = [entry for folder in folders if (entry := folder / name).is_symlink() or entry.exists()]
        inside = f"{place}/{name}"
        if entries[-1].is_symlink():
            yield from ("--symlink", str(entries[-1].readlink()), inside)
        elif len(entries) > 1 and entries[-1].is_dir():
            yield from merged([entry for entry in entries if not entry.is_symlink()], inside)
        else:
            yield from ("--ro-bind", str(entries[-1]), inside)
