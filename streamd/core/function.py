"""A function as it is kept: what is configured for its versions, and what belongs to all of them.

Values only. What AWS merely tells back (VPC, tracing, keys) is kept as it was given, in ``told``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamd.core.wall_clock import is_during

__all__ = ["LATEST", "Alias", "Configuration", "EventSettings", "Function", "Statements"]

LATEST = "$LATEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One version: its code and how it is run. Sizes are MB (2**20 bytes), code_size bytes.

    Until ``settled_ms`` it is Pending if it is new, else its last update is InProgress, and ``revision_before`` is its
    revision; from then on it is Active, its last update Successful, and its revision ``revision``. A published version
    knows which revision of $LATEST it was made from, its ``published_revision``.
    """

    version: str = LATEST
    runtime: str
    handler: str
    role: str
    code_sha256: str
    code_size: int
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    scratch_mb: int = 512
    variables: Mapping[str, str] | None = None
    layers: tuple[str, ...] = ()
    dead_letter: str = ""
    architecture: str = "x86_64"
    logging: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    modified_ms: int = 0
    settled_ms: int = 0
    is_new: bool = True
    revision: str = ""
    revision_before: str = ""
    published_revision: str = ""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Configuration":
        """Read what was kept."""
        return cls(**{**document, "layers": tuple(document["layers"])})

    def is_settled(self, now_ms: int) -> bool:
        """Whether what was asked for last is done."""
        return not is_during(now_ms, since_ms=self.modified_ms, until_ms=self.settled_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for a version, or for two by weight: ``weights`` holds the share (0 to 1) of versions beside the first."""

    name: str
    version: str
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    revision: str = ""

    def choose(self, chance: float) -> str:
        """Give the version for one invocation, by a chance from 0 up to 1."""
        for version, weight in self.weights.items():
            if chance < weight:
                return version
            chance -= weight
        return self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """How asynchronous invocations are retried, and where their outcomes go; None is AWS's default or nowhere."""

    retry_count_max: int | None = None
    age_s_max: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    modified_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """The statements of a resource policy, in order, as documents."""

    statements: tuple[Mapping[str, Any], ...] = ()
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function: $LATEST, and what belongs to all its versions. Maps by qualifier have ``$LATEST`` for none."""

    name: str
    arn: str
    latest: Configuration
    version_count: int = 0
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    reserved: int | None = None
    provisioned: Mapping[str, int] = field(default_factory=dict)
    policies: Mapping[str, Statements] = field(default_factory=dict)
    event_settings: Mapping[str, EventSettings] = field(default_factory=dict)
    urls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recursion: str = "Terminate"
    runtime_update: str = "Auto"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Function":
        """Read what was kept."""
        return cls(
            **{
                **document,
                "latest": Configuration.from_document(document["latest"]),
                "aliases": {name: Alias(**told) for name, told in document["aliases"].items()},
                "policies": {
                    qualifier: Statements(statements=tuple(told["statements"]), revision=told["revision"])
                    for qualifier, told in document["policies"].items()
                },
                "event_settings": {
                    qualifier: EventSettings(**told) for qualifier, told in document["event_settings"].items()
                },
            }
        )
