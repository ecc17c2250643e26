"""The store: a log for each shard and a small catalog, in LMDB. The only room that opens files.

- ``directory``: the data directory: its lock, its format version, its secrets.
- ``environment``: LMDB opened, and the meaning of its tables.
- ``shard_log``: append, read, trim and seal, inside a transaction.
- ``catalog``: small documents with versions, and compare-and-set.
- ``committer``: the one writing thread of a process: group commit, bounded in bytes.
- ``turns``: who makes the next commit, and when: a thread.
- ``signals``: wakes readers, in this process and in the others.
- ``store``: all of it behind one interface, for the engine.
- ``counters``: short-lived counts that all workers share and nobody needs after a restart.
- ``inspect``: walks a data directory offline, to check it and to count.
- ``inspect_apart``: the same check in a process of its own, which damaged pages may end.
- ``backup``: a copy of a data directory, made beside a running daemon.
"""

__all__: list[str] = []
