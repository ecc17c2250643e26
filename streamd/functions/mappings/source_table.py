"""Which stream an ARN is, and how it is reached: one of this server, or one of the endpoint table."""

import re
from typing import Final

from streamd.engine.engine import Engine
from streamd.errors import TargetUnknown
from streamd.functions.mappings.dynamodb_streams import DynamoDbStream
from streamd.functions.mappings.local_kinesis import LocalKinesis
from streamd.functions.mappings.remote_kinesis import RemoteKinesis
from streamd.functions.mappings.sources import Source
from streamd.functions.naming import Account
from streamd.functions.targets.calls import ServiceCalls
from streamd.functions.targets.endpoints import EndpointTable
from streamd.functions.targets.places import is_own

__all__ = ["SourceTable"]

_KINESIS: Final = re.compile(
    r"arn:aws[a-z-]*:kinesis:(?P<region>[a-z0-9-]+):\d{12}:stream/(?P<stream>[a-zA-Z0-9_.-]{1,128})"
    r"(?:/consumer/(?P<consumer>[a-zA-Z0-9_.-]{1,128}:\d{1,12}))?",
    re.ASCII,
)
_DYNAMODB: Final = re.compile(
    r"arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[a-zA-Z0-9_.-]{1,255}/stream/[0-9T:.-]{1,64}", re.ASCII
)


class SourceTable:
    """Finds the streams that mappings read."""

    def __init__(self, *, account: Account, engine: Engine, endpoints: EndpointTable, calls: ServiceCalls) -> None:
        self._account = account
        self._engine = engine
        self._endpoints = endpoints
        self._calls = calls

    def source_of(self, arn: str) -> Source:
        """Give the stream of an ARN, whether it exists or not. Raises TargetUnknown for one that cannot be reached."""
        found = _KINESIS.fullmatch(arn)
        if found is None and not _DYNAMODB.fullmatch(arn):
            raise TargetUnknown(
                f"{arn} is no source: those are Kinesis streams, their consumers, and streams of DynamoDB tables"
            )
        endpoint = self._endpoints.find(arn)
        if found is not None and is_own(arn, self._account, endpoint):
            return LocalKinesis(
                self._engine,
                arn,
                region=found["region"],
                stream_name=found["stream"],
                consumer_name=found["consumer"] or "",
            )
        if endpoint is None:
            raise TargetUnknown(
                f"{arn} cannot be read: no [[endpoint]] in the settings of functions is for it; add one with "
                "arn and endpoint_url"
            )
        if found is not None:
            return RemoteKinesis(self._calls, arn, endpoint, stream_name=found["stream"])
        return DynamoDbStream(self._calls, self._engine.clock, arn, endpoint)
