"""The settings, one frozen tree on one page. ``cli`` reads the flags once; each room is handed its own section."""

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["AccountConfig", "Config", "DoorConfig", "FunctionsConfig", "StoreConfig", "TlsConfig"]

TIB = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where the data lives and how large it may grow (bytes)."""

    directory: Path
    size_max: int = TIB
    master_key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """The port beside the plain one that speaks TLS, and the PEM files of its certificate chain and key."""

    port: int
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorConfig:
    """Where the server listens, and who may come in.

    ``access_keys`` is the TOML text of the keys; None lets anybody in, with any signature or none.
    """

    host: str = "127.0.0.1"
    port: int = 4567
    access_keys: str | None = field(default=None, repr=False)
    tls: TlsConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfig:
    """The account as AWS would show it, and its quotas."""

    account_id: str = "000000000000"
    region: str = "us-east-1"
    shard_quota: int = 20_000
    on_demand_stream_quota: int = 50
    limits_mode: str = "off"
    transition_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionsConfig:
    """How functions run. ``settings`` is the TOML text of what has more than one value: endpoints, routes, runtimes.

    ``sandbox`` is auto, bwrap, process or off. ``network`` is what a function sees of it inside bwrap: none (only this
    server), or host. ``concurrency`` bounds the environments of all functions together; 0 takes four for each core.
    """

    sandbox: str = "auto"
    network: str = "none"
    concurrency: int = 0
    idle_s: float = 600.0
    timeout_s_max: int = 900
    retry_delays_s: tuple[float, ...] = (60.0, 120.0)
    log_byte_count_max: int = 64 << 20
    settings: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings."""

    store: StoreConfig
    door: DoorConfig = field(default_factory=DoorConfig)
    account: AccountConfig = field(default_factory=AccountConfig)
    functions: FunctionsConfig = field(default_factory=FunctionsConfig)
    worker_count: int = 1
