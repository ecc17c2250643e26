"""All mappings of the host: starts, changes and ends their runners as the registry says, and tells how they fare."""

import asyncio
import logging
from dataclasses import replace
from typing import Any, NoReturn

from streamd.core.mapping import EventSourceMapping, Transition
from streamd.core.mapping_steps import MappingCounters
from streamd.errors import TargetUnknown
from streamd.functions.faults import Fault
from streamd.functions.mappings.mapping_runner import MappingRunner, MappingTools
from streamd.functions.mappings.sources import FindsSources

__all__ = ["Mappings"]

_LOG = logging.getLogger(__name__)
_NOTHING_YET = "No records processed"


class Mappings:
    """Runs every enabled mapping. Make it before the registry is loaded, so that it hears of changes."""

    def __init__(self, sources: FindsSources) -> None:
        self._sources = sources
        self._tools: MappingTools | None = None
        self._runners: dict[str, MappingRunner] = {}
        self._results: dict[str, str] = {}
        self._counters: dict[str, MappingCounters] = {}
        self._changed: set[str] = set()
        self._news = asyncio.Event()
        self._is_stopping = False

    def last_result(self, uuid: str) -> str:
        """Tell how a mapping's last batch ended, in AWS's words."""
        return self._results.get(uuid, _NOTHING_YET)

    def note(self, uuid: str, result: str) -> None:
        """Take note of how a batch ended."""
        self._results[uuid] = result

    def count(self, mapping: EventSourceMapping, counters: MappingCounters) -> None:
        """Add up what happened to a mapping's records since the start."""
        self._counters[mapping.uuid] = self._counters.get(mapping.uuid, MappingCounters()) + counters

    def changed(self, uuid: str) -> None:
        """Hear that a mapping was made, changed or removed."""
        self._changed.add(uuid)
        self._news.set()

    async def status(self, uuid: str) -> dict[str, Any]:
        """Describe a mapping's shards, and count its records since the start."""
        runner = self._runners.get(uuid)
        counters = self._counters.get(uuid, MappingCounters())
        return {
            "counters": {
                "polled": counters.polled,
                "filtered_out": counters.filtered_out,
                "invoked": counters.invoked,
                "failed_invoke": counters.failed_invoke,
                "dropped": counters.dropped,
                "on_failure_delivered": counters.on_failure_delivered,
                "expired": counters.expired,
            },
            "shards": [] if runner is None else await runner.status(),
        }

    async def depths(self) -> list[tuple[EventSourceMapping, int, int]]:
        """Tell of each running mapping how many records wait in its lanes, and how many are behind its checkpoints."""
        return [(runner.mapping, *await runner.depth()) for runner in list(self._runners.values())]

    async def drain(self) -> None:
        """Start nothing more, and wait until what is in hand has answered and is stored."""
        self._is_stopping = True
        for runner in self._runners.values():
            runner.stop()
        while self._runners:
            self._news.clear()
            await self._news.wait()

    async def run(self, tools: MappingTools) -> NoReturn:
        """Run the mappings until cancelled."""
        self._tools = tools
        tools.registry.watch(self.changed)
        self._changed |= {mapping.uuid for mapping in tools.registry}
        self._news.set()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._news.wait()
                self._news.clear()
                changed, self._changed = self._changed, set()
                for uuid in changed:
                    self._look_at(uuid, tools, group)
        raise AssertionError("the loop above never ends")

    def _look_at(self, uuid: str, tools: MappingTools, group: asyncio.TaskGroup) -> None:
        """Start a mapping, or stop the runner that has it in its former shape."""
        runner = self._runners.get(uuid)
        mapping = tools.registry.find(uuid)
        if runner is not None:
            if mapping is None or mapping.transition is not None:
                # Its end is news: then the mapping is looked at again.
                runner.stop()
            return
        if mapping is None:
            self._results.pop(uuid, None)
            self._counters.pop(uuid, None)
            return
        if mapping.transition is not None:
            group.create_task(self._settle(mapping, tools))
        elif mapping.is_enabled and not self._is_stopping:
            self._start(mapping, tools, group)

    def _start(self, mapping: EventSourceMapping, tools: MappingTools, group: asyncio.TaskGroup) -> None:
        try:
            source = self._sources.source_of(mapping.source_arn)
        except TargetUnknown as unknown:
            self.note(mapping.uuid, f"PROBLEM: {unknown}")
            _LOG.error("mapping %s cannot run: %s", mapping.uuid, unknown)
            return
        runner = self._runners[mapping.uuid] = MappingRunner(mapping, source, tools)
        group.create_task(self._see_through(mapping.uuid, runner))

    async def _see_through(self, uuid: str, runner: MappingRunner) -> None:
        try:
            await runner.run()
        finally:
            del self._runners[uuid]
            self.changed(uuid)

    async def _settle(self, mapping: EventSourceMapping, tools: MappingTools) -> None:
        """End a transition: nothing of the mapping's former shape runs any more."""
        if mapping.transition is Transition.DELETING:
            await tools.registry.remove(mapping.uuid)
            return

        def decide(present: EventSourceMapping) -> EventSourceMapping:
            # One that was changed again meanwhile has another transition, which is settled next.
            return replace(present, transition=None) if present == mapping else present

        try:
            await tools.registry.change(mapping.uuid, decide)
        except Fault:
            _LOG.debug("mapping %s was removed while it was settled", mapping.uuid)
