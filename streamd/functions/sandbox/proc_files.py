"""Files of /proc, read and written with as few calls as can be: this is part of every invocation."""

import os

__all__ = ["read_page", "write_page"]

_READ_BYTE_COUNT = 1 << 14


def read_page(path: str) -> bytes:
    """Read a file, as much of it as the kernel gives at once. Raises OSError when its process is gone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _READ_BYTE_COUNT)
    finally:
        os.close(descriptor)


def write_page(path: str, text: bytes) -> None:
    """Write a file. Raises OSError when its process is gone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)
