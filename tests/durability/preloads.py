"""Small libraries that stand between a daemon and its disk, compiled when they are needed."""

import shutil
import subprocess
from pathlib import Path

__all__ = ["compiled", "has_compiler"]


def has_compiler() -> bool:
    """Tell whether there is a C compiler."""
    return shutil.which("cc") is not None


def compiled(source: Path, folder: Path) -> Path:
    """Compile a library that is to be preloaded. Raises CalledProcessError."""
    library = folder / f"{source.stem}.so"
    subprocess.run(["cc", "-O1", "-Wall", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library
