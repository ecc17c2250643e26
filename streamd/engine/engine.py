"""The engine as the dialects see it: its services, side by side, and the settings they share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from streamd.config import AccountConfig
from streamd.core.tokens import TokenMint
from streamd.engine.answer_room import AnswerRoom
from streamd.engine.clock import Clock
from streamd.engine.groups import Groups
from streamd.engine.keys import Keys
from streamd.engine.quotas import LimitsMode, Quotas
from streamd.engine.reshard import Resharder
from streamd.engine.shards import Shards
from streamd.engine.streams import Streams
from streamd.engine.subscriptions import SubscriptionRules, Subscriptions
from streamd.metrics import Metrics
from streamd.storage.counters import Counters
from streamd.storage.store import Store

__all__ = ["Engine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Everything a dialect may call. ``transition_ms`` is how long states such as CREATING are held."""

    store: Store
    streams: Streams
    shards: Shards
    subscriptions: Subscriptions
    groups: Groups
    resharder: Resharder
    keys: Keys
    quotas: Quotas
    answers: AnswerRoom
    tokens: TokenMint
    clock: Clock
    metrics: Metrics
    account_id: str
    shard_quota: int
    on_demand_stream_quota: int
    transition_ms: int

    @classmethod
    def on(
        cls,
        store: Store,
        *,
        counters: Counters,
        clock: Clock,
        metrics: Metrics,
        account: AccountConfig,
        master_key: Callable[[], bytes],
        token_secret: bytes,
        rules: SubscriptionRules | None = None,
    ) -> Self:
        """Put an engine together on a store; ``rules`` are those of subscriptions, where others than the usual hold."""
        streams = Streams(store, clock)
        resharder = Resharder(store, streams, clock, transition_ms=account.transition_ms)
        keys = Keys(master_key)
        quotas = Quotas(counters, clock, metrics, mode=LimitsMode(account.limits_mode))
        answers = AnswerRoom()
        shards = Shards(store, streams, resharder, keys, quotas, clock)
        return cls(
            store=store,
            streams=streams,
            shards=shards,
            subscriptions=Subscriptions(store, streams, shards, answers, quotas, counters, clock, metrics, rules=rules),
            groups=Groups(store),
            resharder=resharder,
            keys=keys,
            quotas=quotas,
            answers=answers,
            tokens=TokenMint(token_secret),
            clock=clock,
            metrics=metrics,
            account_id=account.account_id,
            shard_quota=account.shard_quota,
            on_demand_stream_quota=account.on_demand_stream_quota,
            transition_ms=account.transition_ms,
        )
