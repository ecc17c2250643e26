"""streamd: a streaming ingestion server that speaks the Amazon Kinesis Data Streams API and keeps what it acknowledges.

The rooms, and the one direction through them (an import goes right, never left)::

    __main__ > cli > demo > supervisor > daemon | sdk > functions_door > assembly > server
             > kinesis | functions > engine > storage > core > errors | config | metrics

- ``core``: rules as values and functions: hash keys, sequence numbers, shard trees, tokens, blocks, signatures.
  No I/O, no clock, no tasks: time and bytes come in as arguments.
- ``storage``: the store, a log for each shard and a small catalog. The only room that opens files or LMDB.
- ``engine``: life: streams, routing, resharding, waiting readers, retention. Time passes here, through a clock.
- ``kinesis``: the Kinesis dialect: operations by noun, codecs, shapes, and AWS's names, errors and sentences.
- ``functions``: the Lambda dialect, and the environments, queues and pollers that run functions.
- ``server``: the doors: HTTP, authentication, health, metrics.
- ``sdk``: what users import. It knows ``core`` and ``errors`` only, and works against AWS itself.
- ``demo``: the guiding pipeline, run as a user would run it: a daemon, producers, consumers, a verified count.
- ``cli``: a module for each noun, a function for each verb.
- ``assembly``: the wiring of what runs functions, loaded by ``functions_door`` when it is first needed.
- ``daemon``: one worker's wiring, by calling constructors; ``supervisor``: the processes that share one port.

A request passes each room once::

    PutRecords: server -> kinesis.records -> engine.shards -> storage (group commit) -> disk -> back
    GetRecords: server -> kinesis.records -> engine.shards -> storage (read)         -> back
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
