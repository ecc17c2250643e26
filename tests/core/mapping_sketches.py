"""What tests of mappings share: records of one shard, the processor that works on them, and a poller in two lines."""

import orjson

from streamd.core.mapping_events import KinesisEvents
from streamd.core.mapping_records import SourceRecords
from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import Invoke, Settle
from streamd.core.shard_processor import ShardProcessor
from streamd.core.shard_progress import ShardProgress

START_MS = 1_795_404_000_000
FIRST_NUMBER = 49668899999999999999999999999999999999999999999999999900
STREAM_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
EVENTS = KinesisEvents(
    shard_id="shardId-000000000000",
    source_arn=STREAM_ARN,
    role_arn="arn:aws:iam::000000000000:role/process-orders",
    region="us-east-1",
)


def number_of(place: int) -> str:
    return str(FIRST_NUMBER + place)


def records_of(
    places: range, *, key: str | None = None, data: bytes = b"x", arrival_ms: int = START_MS, gap_ms: int = 0
) -> SourceRecords:
    """Make records whose places tell their numbers; each has its own key unless one is given."""
    return SourceRecords(
        [number_of(place) for place in places],
        [(key or f"key-{place}").encode() for place in places],
        [data for _ in places],
        [arrival_ms + gap_ms * place for place in places],
    )


def processor_of(settings: MappingSettings, progress: ShardProgress | None = None) -> ShardProcessor:
    return ShardProcessor(settings, EVENTS, progress=progress or ShardProgress())


def places_in(invoke: Invoke) -> list[int]:
    """Tell which records an event holds."""
    event = orjson.loads(invoke.payload())
    return [int(record["kinesis"]["sequenceNumber"]) - FIRST_NUMBER for record in event["Records"]]


class Poller:
    """Carries out what a processor says, at a moment that the test moves."""

    def __init__(self, processor: ShardProcessor) -> None:
        self.processor = processor
        self.now_ms = START_MS
        self._set_ms = 0
        self.stored = ShardProgress()
        self.failures: list[tuple[str, int, int]] = []

    @property
    def ticks_ms(self) -> int:
        """What only grows, whatever the clock is set to."""
        return self.now_ms - self._set_ms

    def set_clock(self, duration_ms: int) -> None:
        """Set the clock forward or back, without any time passing."""
        self.now_ms += duration_ms
        self._set_ms += duration_ms

    def feed(self, records: SourceRecords) -> None:
        self.processor.feed(records, now_ms=self.now_ms, ticks_ms=self.ticks_ms)

    def invokes(self, *, horizon_ms: int = 0, has_more: bool = False, stops_loops: bool = False) -> list[Invoke]:
        """Settle whatever needs no invocation, and give the invocations that follow."""
        found: list[Invoke] = []
        while True:
            steps = self.processor.steps(
                self.now_ms,
                ticks_ms=self.ticks_ms,
                horizon_ms=horizon_ms,
                has_more=has_more,
                stops_loops=stops_loops,
            )
            found += steps.invokes
            for settle in steps.settles:
                self.settle(settle)
            if not steps.settles:
                return found

    def invoke(self, *, stops_loops: bool = False) -> Invoke:
        """Give the one invocation that follows now."""
        (invoke,) = self.invokes(stops_loops=stops_loops)
        return invoke

    def wake_ms(self) -> int | None:
        """Tell how long the processor waits from now, when there is nothing to do before."""
        steps = self.processor.steps(self.now_ms, ticks_ms=self.ticks_ms)
        assert not steps.invokes
        assert not steps.settles
        return None if steps.wake_ms is None else steps.wake_ms - self.now_ms

    def succeed(self, invoke: Invoke, response: bytes = b"null") -> None:
        settle = self.processor.succeeded(
            invoke.lane,
            response,
            now_ms=self.now_ms,
            ticks_ms=self.ticks_ms,
            jitter=0.5,
            request_id="r",
            version="$LATEST",
        )
        self.settle(settle)

    def fail(self, invoke: Invoke) -> None:
        settle = self.processor.failed(
            invoke.lane,
            error="boom",
            now_ms=self.now_ms,
            ticks_ms=self.ticks_ms,
            jitter=0.5,
            request_id="r",
            version="$LATEST",
        )
        self.settle(settle)

    def settle(self, settle: Settle) -> None:
        for failure in settle.failures:
            self.failures.append((failure.condition.value, failure.record_count, failure.invoke_count))
            self.processor.delivered(failure)
        self.stored = ShardProgress.decode(self.processor.progress_with(settle).encode())
        self.processor.settled(settle)


def poller_of(settings: MappingSettings, progress: ShardProgress | None = None) -> Poller:
    return Poller(processor_of(settings, progress))


def failures_named(*places: int) -> bytes:
    return orjson.dumps({"batchItemFailures": [{"itemIdentifier": number_of(place)} for place in places]})
