"""What can stop the demo before its verdict: bad names, bad posts, a daemon that does not stay up.

A post that was lost, repeated, altered or reordered is none of these: that is the verdict itself, in
``verify``.
"""

from streamd.errors import StreamdError

__all__ = [
    "CheckpointsFailed",
    "DaemonFailed",
    "DirectoryNotEmpty",
    "FunctionFailed",
    "InputChanged",
    "NameUnusable",
    "PostInvalid",
]


class NameUnusable(StreamdError):
    """A name to look for that no text could mention, or that is asked for twice."""


class PostInvalid(StreamdError):
    """A line of the input is not a post."""

    def __init__(self, source: str, line: int, reason: str) -> None:
        super().__init__(source, line, reason)
        self.source = source
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}: {self.reason}"


class InputChanged(StreamdError):
    """The file of posts was not the same when it was read again, so nothing can be verified against it."""


class CheckpointsFailed(StreamdError):
    """The file of checkpoints could not be read or written; what it holds is still whole."""


class DaemonFailed(StreamdError):
    """The demo's daemon did not start, or ended before the demo did."""


class FunctionFailed(StreamdError):
    """The demo's function, or its mapping, did not come to work."""


class DirectoryNotEmpty(StreamdError):
    """The directory given for the demo's data already holds something."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.directory = directory

    def __str__(self) -> str:
        return f"{self.directory} is not empty: the demo starts from nothing, so give it a new directory"
