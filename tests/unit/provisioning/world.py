"""This file is an appliance's inside on a cloud in memory, whose power can be cut and restored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.appliance.handlers import handlers
from gateway.commands.executor import Executor
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState
from gateway.contract.commands import Command
from gateway.contract.events import CommandEnded, Event
from gateway.kit import supervise
from gateway.provisioning.clusters import Tools
from tests.fakes.clock import HandClock
from tests.fakes.cloud import MemoryCloud
from tests.fakes.playbooks import MemoryPlaybooks


class PowerCutError(BaseException):
    """The machine stops here. Not an Exception: nothing may handle it."""


@dataclass
class World:
    """What outlives a power cut: the cloud, and the appliance's disk below `state`."""

    state: Path
    cloud: MemoryCloud = field(default_factory=MemoryCloud)
    playbooks: MemoryPlaybooks = field(default_factory=MemoryPlaybooks)

    def artifacts(self) -> Path:
        """Return a directory that looks as the appliance's should."""
        directory = self.state / "artifacts"
        directory.mkdir(exist_ok=True)
        for name in ("containerd.deb", "SHA256SUMS"):
            (directory / name).touch()
        return directory

    @asynccontextmanager
    async def powered(self) -> AsyncIterator[Journal]:
        """Run the appliance's inside; leaving stops it."""
        clock = HandClock()
        tools = Tools(self.cloud.connect, self.playbooks, self.state, self.artifacts())
        async with Journal.open(self.state / "journal.db", clock=clock) as journal:
            executor = Executor(journal, handlers(tools), clock=clock)
            async with supervise.running(executor=executor.run()):
                yield journal

    async def carry_out(self, command: Command) -> CommandEnded:
        """Send a command, also again, and wait until it has ended."""
        async with self.powered() as journal:
            await journal.accept(command)
            async with asyncio.timeout(20):
                while journal.ledger.record(command.id).state is not CommandState.ENDED:
                    async with journal.changed:
                        await journal.changed.wait()
            events = [event for event in await _all(journal) if event.command_id == command.id]
        assert isinstance(events[-1].body, CommandEnded)
        return events[-1].body

    async def events(self) -> list[Event]:
        """Return all events ever written."""
        async with Journal.open(self.state / "journal.db", clock=HandClock()) as journal:
            return await _all(journal)


async def _all(journal: Journal) -> list[Event]:
    return await journal.events_after(0, limit=100_000)
