"""The engine as the dialects see it: its services, side by side, and the settings they share."""

from dataclasses import dataclass

from streamd.core.tokens import TokenMint
from streamd.engine.clock import Clock
from streamd.engine.keys import Keys
from streamd.engine.quotas import Quotas
from streamd.engine.reshard import Resharder
from streamd.engine.shards import Shards
from streamd.engine.streams import Streams
from streamd.engine.subscriptions import Subscriptions
from streamd.metrics import Metrics
from streamd.storage.store import Store

__all__ = ["Engine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Everything a dialect may call. ``transition_ms`` is how long states such as CREATING are held."""

    store: Store
    streams: Streams
    shards: Shards
    subscriptions: Subscriptions
    resharder: Resharder
    keys: Keys
    quotas: Quotas
    tokens: TokenMint
    clock: Clock
    metrics: Metrics
    account_id: str
    shard_quota: int
    on_demand_stream_quota: int
    transition_ms: int
