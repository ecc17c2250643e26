"""Life: streams and shards as time passes. Knows nothing of HTTP, JSON or AWS's names.

- ``clock``: where the time comes from.
- ``streams``: every stream by name, changed by compare-and-set, seen alike by all workers.
- ``shards``: records in and out: routing, iterators, waiting readers.
- ``reshard``: splits and merges, from intent to done, finished by whoever comes first.
- ``keys``: data keys of encrypted streams.
- ``quotas``: what AWS would allow, enforced or only counted.
- ``retention``: removes what has expired and what was deleted.
- ``on_demand``: splits the shards of on-demand streams that stay over their write limit.
- ``engine``: all of it, as the dialects see it.
"""

__all__: list[str] = []
