"""What users' own tests stand on instead of a server: a Kinesis in memory, and leases in memory.

    async with MemoryKinesis() as client:
        await client.create_stream("orders", shard_count=2)
        await client.put_record("orders", b"one", "key")

``MemoryKinesis`` is a ``KinesisClient`` and is taken wherever one is. Nothing leaves the process and nothing outlives
the object; time is the test's own if it gives a clock. Unlike the rest of the SDK it needs what the server needs.
"""

from streamd.sdk.leases_memory import MemoryLeases
from streamd.sdk.testing.memory_kinesis import MemoryKinesis

__all__ = ["MemoryKinesis", "MemoryLeases"]
