"""What a route lets through of what is pushed to it.

A filter that asks for something lets nothing through that cannot tell it: with a bucket in it, only objects of that
bucket. Patterns of events are globs; AWS's ``s3:`` before them may be written or not.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from streamd.core.push_s3 import S3Record

__all__ = ["PushFilter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushFilter:
    """The conditions, all of which must hold; an empty one always does. ``prefix`` and ``suffix`` are a key's own."""

    bucket: str = ""
    prefix: str = ""
    suffix: str = ""
    events: tuple[str, ...] = ()

    @property
    def is_about_objects(self) -> bool:
        """Whether only what happens to objects can be let through."""
        return bool(self.bucket or self.prefix or self.suffix)

    def lets_object(self, record: S3Record) -> bool:
        """Tell whether what happened to an object is let through."""
        return (
            (not self.bucket or fnmatchcase(record.bucket, self.bucket))
            and record.key.startswith(self.prefix)
            and record.key.endswith(self.suffix)
            and self._lets_event(record.event)
        )

    def lets_type(self, kind: str | None) -> bool:
        """Tell whether an event of another sort is let through, by its type where it has one."""
        if self.is_about_objects:
            return False
        return not self.events or (kind is not None and self._lets_event(kind))

    def _lets_event(self, name: str) -> bool:
        return not self.events or any(fnmatchcase(name, pattern.removeprefix("s3:")) for pattern in self.events)
