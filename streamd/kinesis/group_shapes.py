"""What a request of each operation on groups looks like. They are streamd's own, so this page is their reference."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from streamd.core.limits import LEASE_COUNT_MAX
from streamd.core.shapes import BooleanShape, ListShape, LongShape, MapShape, Shape, StructureShape, TextShape
from streamd.kinesis.shapes_members import NAME, NEXT_TOKEN, STREAM_ARN, structure

__all__ = ["GROUP_INPUT_BY_OPERATION"]

_GROUP = TextShape(minimum=1, maximum=128, pattern=r"[a-zA-Z0-9_.-]+")
_MEMBER = TextShape(minimum=1, maximum=128, pattern=r"[a-zA-Z0-9_.-]+")
_SHARD = TextShape(minimum=1, maximum=128, pattern=r"shardId-\d{12}")
_ABOUT = TextShape(minimum=0, maximum=256)
_EPOCH = LongShape(minimum=0)
_PLACE = TextShape(pattern=r"TRIM_HORIZON|SHARD_END|AT:\d{1,15}|\d{1,128}")
_START = TextShape(pattern=r"TRIM_HORIZON|AT:\d{1,15}")
_SHARDS = ListShape(_SHARD, minimum=1, maximum=LEASE_COUNT_MAX)
_LEASE = structure(
    "Lease",
    required=("ShardId", "Place"),
    ShardId=_SHARD,
    Place=_PLACE,
    ParentShardIds=ListShape(_SHARD, minimum=0, maximum=2),
)
_PAGE = LongShape(minimum=1, maximum=1_000)


def _input(operation: str, *, required: tuple[str, ...] = (), **members: Shape) -> tuple[str, StructureShape]:
    of_stream: Mapping[str, Shape] = {"StreamName": NAME, "StreamARN": STREAM_ARN}
    return operation, structure(f"{operation}Input", required=required, **members, **of_stream)


_IN_GROUP: Mapping[str, Shape] = {"GroupName": _GROUP}
_OF_MEMBER: Mapping[str, Shape] = {**_IN_GROUP, "MemberId": _MEMBER}
_OF_LEASE: Mapping[str, Shape] = {**_OF_MEMBER, "ShardId": _SHARD, "Epoch": _EPOCH}

GROUP_INPUT_BY_OPERATION: Mapping[str, StructureShape] = MappingProxyType(
    dict(
        (
            _input("CreateGroup", required=("GroupName", "Start"), Start=_START, **_IN_GROUP),
            _input("ListGroups", MaxResults=_PAGE, NextToken=NEXT_TOKEN),
            _input("DescribeGroup", required=("GroupName",), **_IN_GROUP),
            _input("DeleteGroup", required=("GroupName",), **_IN_GROUP),
            _input("BeatMember", required=("GroupName", "MemberId"), About=_ABOUT, **_OF_MEMBER),
            _input("LeaveGroup", required=("GroupName", "MemberId"), **_OF_MEMBER),
            _input(
                "AddLeases",
                required=("GroupName", "Leases"),
                Leases=ListShape(_LEASE, minimum=1, maximum=LEASE_COUNT_MAX),
                **_IN_GROUP,
            ),
            _input("DropLeases", required=("GroupName", "ShardIds"), ShardIds=_SHARDS, **_IN_GROUP),
            _input("AcquireLease", required=("GroupName", "MemberId", "ShardId", "Epoch"), **_OF_LEASE),
            _input(
                "SaveCheckpoint",
                required=("GroupName", "MemberId", "ShardId", "Epoch", "Place"),
                Place=_PLACE,
                Release=BooleanShape(),
                **_OF_LEASE,
            ),
            _input(
                "SeekLeases",
                required=("GroupName", "Places"),
                Places=MapShape(_SHARD, _PLACE, minimum=1, maximum=LEASE_COUNT_MAX),
                **_IN_GROUP,
            ),
        )
    )
)
