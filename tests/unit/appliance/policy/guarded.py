"""This file is a gate before a real journal, with the audit log both write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from gateway.appliance.audit import AuditLog
from gateway.appliance.policy import book
from gateway.appliance.policy.gate import Gate, PolicyRefusedError, PolicyWaitsError
from gateway.appliance.policy.kept import Kept
from gateway.audit import lines as auditlines
from gateway.audit.lines import Act
from gateway.commands.executor import Executor
from gateway.commands.journal import Journal
from gateway.commands.work import Work
from gateway.contract.commands import Command
from gateway.contract.events import CommandEnded
from gateway.kit import supervise
from gateway.kit.errors import GatewayError
from tests.fakes.clock import HandClock

GATEWAY = UUID(int=7)


@dataclass
class Guarded:
    """A gate before a journal, with the audit log both write."""

    gate: Gate
    journal: Journal
    audit: AuditLog
    clock: HandClock

    @property
    def kept(self) -> Kept:
        return self.gate.kept

    def policy(self, text: str) -> None:
        self.kept.file.write(text.encode())

    async def accept(self, command: Command, **more: object) -> None:
        async with self.gate.admitting(command, **more):  # type: ignore[arg-type]
            await self.journal.accept(command)

    async def refused(self, command: Command) -> str:
        with pytest.raises(PolicyRefusedError) as caught:
            await self.accept(command)
        assert self.journal.ledger.get(command.id) is None
        return caught.value.message

    async def waits(self, command: Command) -> str:
        with pytest.raises(PolicyWaitsError) as caught:
            await self.accept(command)
        assert self.journal.ledger.get(command.id) is None
        return caught.value.message

    async def carried_out(self, command: Command, *, error: GatewayError | None = None) -> CommandEnded:
        """Carry a command out, well or badly, and return how it ended, once that is counted."""

        async def handler(_: Command, __: Work) -> None:
            if error is not None:
                raise error

        executor = Executor(self.journal, self.gate.guarding(handler), clock=self.clock)
        async with supervise.running(executor=executor.run(), gate=self.gate.run()), asyncio.timeout(10):
            while command.id in book.read(self.kept.usage).wishes or command.id in self.journal.open_commands():
                async with self.journal.changed:
                    await asyncio.sleep(0.001)
        events = await self.journal.events_after(0, limit=100)
        return next(one.body for one in events if one.command_id == command.id and isinstance(one.body, CommandEnded))

    def told(self, action: str) -> list[Act]:
        entries = [auditlines.parsed(line) for _, line in self.audit.lines()]
        return [one.act for one in entries if one is not None and one.act.action == action]


@asynccontextmanager
async def guarded_in(directory: Path) -> AsyncIterator[Guarded]:
    clock = HandClock()
    audit = AuditLog(directory, clock=clock)
    async with Journal.open(directory / "journal.db", clock=clock) as journal:
        made = Gate(directory, journal, gateway=GATEWAY, append=audit.append, clock=clock)
        yield Guarded(made, journal, audit, clock)
