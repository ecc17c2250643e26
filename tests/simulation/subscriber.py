"""A registered consumer that has records pushed to it, shard by shard: nothing twice, and nothing passed over.

It ends its subscriptions after a few events and goes on from where the last event said, over the server's lives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamd.core.lease import AT_END, TRIM_HORIZON, Place
from tests.simulation.clients import MAIN, pause
from tests.simulation.known import Began
from tests.simulation.machine import Machine, rows_in
from tests.simulation.world import World

__all__ = ["Subscriber"]

_NAME = "pushed"


@dataclass(slots=True)
class Subscriber:
    """Subscribes so many times."""

    world: World
    left: int
    event_count: int = 0
    _arn: str = ""
    _place_by_shard: dict[str, Place] = field(default_factory=dict)
    _pushed: set[tuple[str, int]] = field(default_factory=set)

    async def run(self, machine: Machine) -> None:
        """Go on with what is left."""
        while self.left:
            self.left -= 1
            await pause(self.world)
            if not self._arn:
                await self._register(machine)
            else:
                await self._subscribe(machine)

    async def _register(self, machine: Machine) -> None:
        stream = await machine.ask("DescribeStreamSummary", StreamName=MAIN)
        if stream.error:
            return
        of_stream = {"StreamARN": stream.document["StreamDescriptionSummary"]["StreamARN"], "ConsumerName": _NAME}
        made = await machine.ask("RegisterStreamConsumer", **of_stream)
        self.world.note(f"subscriber: register: {made.error or 'done'}")
        if not made.error:
            self._arn = made.document["Consumer"]["ConsumerARN"]
        elif made.error == "ResourceInUseException":
            # It was made, and the answer was lost.
            found = await machine.ask("DescribeStreamConsumer", **of_stream)
            if not found.error:
                self._arn = found.document["ConsumerDescription"]["ConsumerARN"]

    async def _subscribe(self, machine: Machine) -> None:
        random, known = self.world.random, self.world.known
        listed = await machine.ask("ListShards", StreamName=MAIN)
        if listed.error or not listed.document["Shards"]:
            return
        shard_id = random.choice(listed.document["Shards"])["ShardId"]
        place = self._place_by_shard.get(shard_id, TRIM_HORIZON)
        if place == AT_END:
            return
        position = {"Type": TRIM_HORIZON}
        if place.isdigit():
            position = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": place}
        began = known.began(machine.now_ms())
        error, events = await machine.push(
            "SubscribeToShard",
            count=random.randrange(1, 5),
            ConsumerARN=self._arn,
            ShardId=shard_id,
            StartingPosition=position,
        )
        self.world.note(f"subscriber: {shard_id} from {place}: {error or len(events)}")
        if error == "InvalidArgumentException":
            known.faults.append(f"a subscription to {shard_id} could not go on from {place}")
        for event in events:
            self._take(machine, shard_id, event, began)

    def _take(self, machine: Machine, shard_id: str, event: Mapping[str, Any], began: Began) -> None:
        known = self.world.known
        self.event_count += 1
        before = self._place_by_shard.get(shard_id, TRIM_HORIZON)
        rows = rows_in(dict(event), shard_id)
        self.world.note(f"pushed {shard_id}: {[(row.sequence_number, row.data) for row in rows]}")
        known.look(MAIN, rows, began=began, now_ms=machine.now_ms())
        for row in rows:
            if before.isdigit() and row.sequence_number <= int(before):
                known.faults.append(f"{row} was pushed, and lies before {before}")
            if (shard_id, row.sequence_number) in self._pushed:
                known.faults.append(f"{row} was pushed twice")
            self._pushed.add((shard_id, row.sequence_number))
        # Without a continuation the shard has come to its end.
        place = self._place_by_shard[shard_id] = event.get("ContinuationSequenceNumber", AT_END)
        gone_ms = known.lives[MAIN].retention.gone_ms(machine.now_ms())
        for data, sent in known.sent.items():
            if sent.stream != MAIN or sent.place is None or sent.place[0] != shard_id or sent.sent_ms < gone_ms:
                continue
            is_before = place == AT_END or sent.place[1] <= int(place)
            if is_before and sent.place not in self._pushed:
                known.faults.append(f"{data!r} was acknowledged at {sent.place} and passed over by pushes")
