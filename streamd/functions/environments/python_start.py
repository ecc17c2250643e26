"""Begins a Python function: run by the function's interpreter as ``python -S start.py HANDLER``, in its own folder.

The interpreter runs without its site packages: what streamd itself is made of must not be what a function imports.
So the order of AWS is made here: the function's code, its layers (PYTHONPATH), the runtime, the standard library; and
the names that only ``site`` gives. Nothing of streamd can be imported here.
"""

import builtins
import os
import sys

__all__ = ["begin"]


def begin() -> None:
    """Set the path and become awslambdaric."""
    runtime = sys.path.pop(0)
    # Layers stand before the standard library, as PYTHONPATH always does; the runtime goes between the two.
    first = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    library = next((index for index, entry in enumerate(sys.path) if entry.endswith(first)), len(sys.path))
    sys.path[library:library] = [runtime]
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - pathlib would be most of the time that this module takes
    _add_site_names()
    # It is found in the runtime's folder, where this file lies by then.
    from awslambdaric.__main__ import main  # type: ignore[import-untyped]  # it has none # noqa: PLC0415

    main(["awslambdaric", *sys.argv[1:]])


def _add_site_names() -> None:
    import _sitebuiltins  # noqa: PLC0415 - only after the path is right

    for name in ("quit", "exit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D"))


if __name__ == "__main__":
    begin()
