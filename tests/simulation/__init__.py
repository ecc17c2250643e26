"""The simulation: real engine, store and committer on a disk, a clock, a loop and threads that one seed decides.

- ``loop``: an event loop whose time jumps and whose order of callbacks a seed chooses.
- ``turns``: the committer's thread, which goes on only when the loop lets it.
- ``disk``: a disk in memory that loses what was not synced, and can fail, fill up, and lie.
- ``transactions``: LMDB's transactions and cursors on that disk.
- ``environment``: the store's environment on that disk.
- ``worker``: a worker: engine, store and committer, and what it is answering.
- ``machine``: one life of a server, to a power cut or a kill.
- ``world``: what outlives a machine: the disk, the clock, the log of everything, what clients know.
- ``known``: what clients know, and what must therefore be there.
- ``known_group``: what is known of a group's leases, epochs and checkpoints.
- ``members``: who takes leases and saves places, and does not always know that it is over.
- ``walker``: who follows the stream over its reshards, parents first.
- ``counters``: what a life's workers share.
- ``subscriber``: who has records pushed to it.
- ``clients``: who puts, reads, reshards and deletes.
- ``run``: a seed's whole story.
"""

__all__: list[str] = []
