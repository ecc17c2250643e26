"""The main job, run to its end: posts in, mentions out, and every post accounted for.

`streamd demo` starts a daemon of its own, replays social posts through it from several producers, and counts
with a checkpointing consumer the posts that mention the names asked for. Afterwards it counts its input
again, without the daemon, and says which post was lost, repeated, altered or out of order.

This room stands beside `cli` and uses the daemon only as a stranger would: over HTTP, by `streamd.sdk`. It is
not part of the server, so it may open the files its user names and a SQLite file for its checkpoints.
"""
