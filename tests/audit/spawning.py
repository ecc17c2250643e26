"""Processes that begin anew and find these tests.

A new process looks for modules where this one does. aws-kinesis-agg, once it is imported, puts site-packages
first, and one of those brings a module ``tests`` of its own.
"""

import multiprocessing
import sys
from multiprocessing.context import SpawnContext
from pathlib import Path

__all__ = ["spawning"]

_ROOT = str(Path(__file__).resolve().parents[2])


def spawning() -> SpawnContext:
    """Give what starts such processes."""
    if sys.path[0] != _ROOT:
        sys.path.insert(0, _ROOT)
    return multiprocessing.get_context("spawn")
