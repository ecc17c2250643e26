"""Figures that are read when somebody looks: what the store holds, and what each worker takes."""

from collections import defaultdict
from collections.abc import Iterable

from streamd.engine.engine import Engine
from streamd.metrics import Figure

__all__ = ["store_figures"]


async def store_figures(engine: Engine) -> list[Figure]:
    """Count streams, open shards, records and bytes, now."""
    now_ms = engine.clock.now_ms()
    streams = [stream for stream in await engine.streams.all() if not stream.is_gone(now_ms)]
    names = {stream.number: stream.name for stream in streams}
    records: dict[str, float] = defaultdict(float)
    byte_counts: dict[str, float] = defaultdict(float)
    for shard, state in await engine.store.states():
        if (name := names.get(shard.stream_number)) is not None:
            records[name] += state.live_record_count
            byte_counts[name] += state.live_byte_count
    space = engine.store.space()
    open_shards = {stream.name: float(len(stream.tree.open_shards)) for stream in streams}
    return [
        Figure("streamd_streams", "Streams", (), [((), float(len(streams)))]),
        Figure("streamd_open_shards", "Open shards", ("stream",), _by_stream(open_shards)),
        Figure("streamd_stored_records", "Records held", ("stream",), _by_stream(records)),
        Figure("streamd_stored_bytes", "Bytes of keys and data held", ("stream",), _by_stream(byte_counts)),
        Figure("streamd_store_used_bytes", "Bytes of the store in use", (), [((), float(space.used))]),
        Figure("streamd_store_file_bytes", "Bytes the store takes on disk", (), [((), float(space.file))]),
        Figure("streamd_store_limit_bytes", "Bytes the store may use", (), [((), float(space.limit))]),
    ]


def _by_stream(values: dict[str, float]) -> Iterable[tuple[tuple[str], float]]:
    return [((name,), value) for name, value in values.items()]
