"""Every bound of the server, with its reason.

Those named after Kinesis are the service's own, from its API reference and quota pages; the others are ours.
"""

from typing import Final

__all__ = [
    "ADMITTED_BYTE_COUNT_MAX",
    "ANSWER_ROOM_BYTE_COUNT_MAX",
    "BLOCK_BYTE_COUNT_MAX",
    "BODY_BYTE_COUNT_MAX",
    "CLOSED_RETRY_COUNT_MAX",
    "COMMIT_BYTE_COUNT_MAX",
    "CONSUMER_COUNT_MAX",
    "CONSUMER_COUNT_MAX_ADVANTAGE",
    "DEPLOY_BYTE_COUNT_MAX",
    "DOOR_BYTE_COUNT_MAX",
    "EVENT_COUNT_MAX",
    "EVENT_TABLE_BYTE_COUNT_MAX",
    "GET_RECORDS_BYTE_COUNT_MAX",
    "GET_RECORDS_COUNT_MAX",
    "GROUP_COUNT_MAX",
    "ITERATOR_AGE_MS_MAX",
    "LEASE_COUNT_MAX",
    "MEMBER_COUNT_MAX",
    "ON_DEMAND_SHARD_COUNT",
    "PARTITION_KEY_LENGTH_MAX",
    "PUSH_BYTE_COUNT_MAX",
    "PUT_MEMORY_COUNT",
    "PUT_MEMORY_MS",
    "PUT_RECORDS_BYTE_COUNT_MAX",
    "PUT_RECORDS_COUNT_MAX",
    "RECORD_KIB_DEFAULT",
    "RECORD_KIB_MAX",
    "RETENTION_HOURS_DEFAULT",
    "RETENTION_HOURS_MAX",
    "SHARD_READ_BYTE_RATE",
    "SHARD_READ_CALL_RATE",
    "SHARD_WRITE_BYTE_RATE",
    "SHARD_WRITE_RECORD_RATE",
    "SMALL_ANSWER_BYTE_COUNT_MAX",
    "SMALL_BODY_BYTE_COUNT_MAX",
    "SUBSCRIPTION_GUARD_MS",
    "SUBSCRIPTION_IDLE_MS",
    "SUBSCRIPTION_MS_MAX",
    "TAG_COUNT_MAX",
    "TOKEN_AGE_MS_MAX",
    "TRIM_BLOCK_COUNT_MAX",
    "TRIM_BYTE_COUNT_MAX",
    "TRIM_PUT_COUNT_MAX",
    "WAIT_MS_MAX",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB

# Kinesis: one record counts its data and its partition key.
RECORD_KIB_DEFAULT: Final = 1024
RECORD_KIB_MAX: Final = 10240
PARTITION_KEY_LENGTH_MAX: Final = 256
PUT_RECORDS_COUNT_MAX: Final = 500
PUT_RECORDS_BYTE_COUNT_MAX: Final = 10 * MIB
GET_RECORDS_COUNT_MAX: Final = 10_000
GET_RECORDS_BYTE_COUNT_MAX: Final = 10 * MIB
ITERATOR_AGE_MS_MAX: Final = 300_000
TOKEN_AGE_MS_MAX: Final = 300_000
RETENTION_HOURS_DEFAULT: Final = 24
RETENTION_HOURS_MAX: Final = 8760
ON_DEMAND_SHARD_COUNT: Final = 4
TAG_COUNT_MAX: Final = 50
CONSUMER_COUNT_MAX: Final = 20
CONSUMER_COUNT_MAX_ADVANTAGE: Final = 50
SHARD_WRITE_BYTE_RATE: Final = 1 * MIB
SHARD_WRITE_RECORD_RATE: Final = 1000
SHARD_READ_BYTE_RATE: Final = 2 * MIB
SHARD_READ_CALL_RATE: Final = 5
SUBSCRIPTION_MS_MAX: Final = 300_000
SUBSCRIPTION_GUARD_MS: Final = 5_000
# How long a subscription says nothing: about as long as Kinesis does.
SUBSCRIPTION_IDLE_MS: Final = 5_000

# One pushed event: a block at most, so that none is read and verified twice, and a slow taker holds little memory. A
# record that is larger comes alone.
PUSH_BYTE_COUNT_MAX: Final = 1 * MIB

# 10 MiB of data in base64 with 500 keys of 256 characters escaped at their worst still fits.
BODY_BYTE_COUNT_MAX: Final = 20 * MIB
# Ours: what the bodies of requests hold in one process, from the socket to the answer; past it large ones wait unread.
# Decoded and on its way to the disk, a body takes some three times its bytes more.
DOOR_BYTE_COUNT_MAX: Final = 64 * MIB
# A body up to this never waits for room at the door: large ones shall not hold up small ones.
SMALL_BODY_BYTE_COUNT_MAX: Final = 64 * KIB
# Ours: what answers hold in one process until clients have taken them; past it reads give little, past twice as much
# nothing. Only a record that is larger comes alone.
ANSWER_ROOM_BYTE_COUNT_MAX: Final = 64 * MIB
SMALL_ANSWER_BYTE_COUNT_MAX: Final = 64 * KIB
# Lambda: a request that carries a package of code, in base64.
DEPLOY_BYTE_COUNT_MAX: Final = 70_167_211
# Ours: events that wait for functions. Past these a producer hears of it, and the log keeps its room.
EVENT_COUNT_MAX: Final = 1_000_000
EVENT_TABLE_BYTE_COUNT_MAX: Final = 4096 * MIB

# Ours: groups of readers. Every beat of a member answers with all leases and members, which so stay a few megabytes; a
# stream has as many shards at most as a group may have leases.
GROUP_COUNT_MAX: Final = 1_000
LEASE_COUNT_MAX: Final = 20_000
MEMBER_COUNT_MAX: Final = 1_000

# A read verifies a whole block, so a block is kept small enough that a read with a small Limit stays cheap.
BLOCK_BYTE_COUNT_MAX: Final = 1 * MIB
# One commit takes this much at most: larger ones gain no rate and make the next one wait.
COMMIT_BYTE_COUNT_MAX: Final = 16 * MIB
# What may wait for a commit in one process; past it a put waits at the door, so that memory stays bounded.
ADMITTED_BYTE_COUNT_MAX: Final = 64 * MIB
# A put that raced with a reshard is routed again; each round needs a new reshard, so a few rounds are plenty.
CLOSED_RETRY_COUNT_MAX: Final = 50

# Retention gives the writer's lock back after this much, so that puts never wait long behind it.
TRIM_BLOCK_COUNT_MAX: Final = 256
TRIM_BYTE_COUNT_MAX: Final = 32 * MIB
TRIM_PUT_COUNT_MAX: Final = 1000

# Ours: how many numbers of a producer a shard remembers. A producer has a few requests under way at once, and the SDK's
# starts none while its oldest one is this far back; each entry takes some 100 bytes.
PUT_MEMORY_COUNT: Final = 256
# How long after its last request a producer is remembered: far longer than any client repeats a request.
PUT_MEMORY_MS: Final = 900_000

# How long a reader may ask the server to hold an empty answer (our extension).
WAIT_MS_MAX: Final = 20_000
