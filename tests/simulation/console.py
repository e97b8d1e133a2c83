"""This file is a console without a database: the rules are the console's own, what it keeps is in memory.

Each message it takes is one transaction, as at the real one; test_simulated_console.py holds it against that.
"""

import asyncio
import copy
from dataclasses import dataclass, field, replace
from uuid import UUID

from gateway.console import intake, projection
from gateway.console.lane import Lane, Waiting
from gateway.console.projection import Picture
from gateway.console.records import CommandState, StoredCommand
from gateway.contract.commands import Command
from gateway.contract.events import Event
from gateway.contract.messages import Accepted, Acknowledge, Deferred, Deliver, Hello, Rejected, ReportEvents, Welcome
from gateway.contract.version import PROTOCOL
from gateway.kit.errors import GatewayError
from gateway.tunnel.channel import ChannelClosedError
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connection

GATEWAY = UUID(int=1)
LOOKS_EVERY = 15.0
SILENT_FOR = 90.0
"""Seconds after which a connection that says nothing is given up, as pings would find out."""


@dataclass(slots=True)
class Kept:
    """What a console keeps on its disk."""

    commands: dict[UUID, StoredCommand] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    acknowledged: int = 0


def stored(command: Command, seq: int) -> StoredCommand:
    return StoredCommand(
        id=command.id, project=None, gateway=GATEWAY, gateway_name="dc1", seq=seq, cluster=None, cluster_name=None,
        command=command, state=CommandState.PENDING, problem=None, inventory=None, sent_at=None, accepted_at=None,
        began_at=None, ended_at=None,
    )  # fmt: skip


class ModelConsole:
    """One console with one gateway."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.clock = VirtualClock()
        self.accepted: set[UUID] = set()
        self.deferred = 0
        self._bell = asyncio.Event()
        self._greeting: Connection | None = None
        self._greeted: Connection | None = None
        self._deliveries: dict[UUID, dict[str, object]] = {}

    def wish(self, command: Command) -> None:
        self.kept.commands[command.id] = stored(command, len(self.kept.commands) + 1)
        self._bell.set()

    def backup(self) -> Kept:
        return copy.copy(Kept(dict(self.kept.commands), list(self.kept.events), self.kept.acknowledged))

    def restore(self, backup: Kept) -> None:
        self.kept = Kept(dict(backup.commands), list(backup.events), backup.acknowledged)
        self._bell.set()

    @property
    def all_ended(self) -> bool:
        return all(one.state.has_ended for one in self.kept.commands.values())

    def answered(self, answer: Accepted | Rejected) -> None:
        known = self.kept.commands.get(answer.command_id)
        if isinstance(answer, Accepted):
            self.accepted.add(answer.command_id)
        if known is None:
            return
        now = self.clock.now()
        if isinstance(answer, Accepted):
            changed = projection.accepted(Picture(known), now=now)
        else:
            changed = projection.rejected(Picture(known), answer.problem, now=now)
        self.kept.commands[known.id] = changed.command

    def reported(self, events: list[Event]) -> int:
        fresh = intake._fresh(self.kept.acknowledged, events, had=0)
        for event in fresh:
            known = self.kept.commands.get(event.command_id)
            if known is not None:
                changed = projection.reported(Picture(known), event.body, now=self.clock.now())
                self.kept.commands[known.id] = changed.command
            self.kept.events.append(event)
            self.kept.acknowledged = event.number
        return self.kept.acknowledged

    async def serve(self, connection: Connection) -> None:
        """Serve one connection until it ends, whatever the peer does."""
        try:
            older, self._greeting = self._greeting, connection
            if older is not None:  # its hello may be on its way still: what it says is old
                older.hang_up()
            hello = await connection.receive(connection.up)
            assert isinstance(hello, Hello)
            assert hello.next_event > self.kept.acknowledged, "the appliance counts events it has counted before"
            self._greeting = None if self._greeting is connection else self._greeting
            older, self._greeted = self._greeted, connection
            if older is not None:
                older.hang_up()
            connection.send(
                connection.down,
                Welcome(protocol=PROTOCOL, server_time=self.clock.now(), acknowledged=self.kept.acknowledged),
            )
            lane = Lane()
            async with asyncio.TaskGroup() as group:
                delivering = group.create_task(self._deliver(connection, lane))
                try:
                    await self._receive(connection, lane)
                finally:
                    delivering.cancel()
        except* (ChannelClosedError, GatewayError, TimeoutError):
            connection.hang_up()

    async def _deliver(self, connection: Connection, lane: Lane) -> None:
        while True:
            now = self.clock.monotonic()
            for one in lane.next(self._pending(), unfinished=self._unfinished(), now=now):
                self._send(connection, self.kept.commands[one])
            self._bell.clear()
            try:
                async with asyncio.timeout(LOOKS_EVERY):
                    await self._bell.wait()
            except TimeoutError:
                pass
            if lane.is_silent(self.clock.monotonic()):
                raise ChannelClosedError("a command was not answered")

    def _send(self, connection: Connection, one: StoredCommand) -> None:
        self.kept.commands[one.id] = replace(one, sent_at=one.sent_at or self.clock.now())
        body = self._deliveries.setdefault(one.id, one.command.model_dump(mode="json"))
        connection.send(connection.down, Deliver(command_id=one.id, command=body))

    def _pending(self) -> list[Waiting]:
        return [
            Waiting(one.id, one.command.task.resource)
            for one in self.kept.commands.values()
            if one.state is CommandState.PENDING
        ]

    def _unfinished(self) -> int:
        states = (CommandState.ACCEPTED, CommandState.RUNNING)
        return sum(one.state in states for one in self.kept.commands.values())

    async def _receive(self, connection: Connection, lane: Lane) -> None:
        while True:
            async with asyncio.timeout(SILENT_FOR):
                message = await connection.receive(connection.up)
            match message:
                case ReportEvents():
                    number = self.reported(message.events)
                    connection.send(connection.down, Acknowledge(number=number))
                case Accepted() | Rejected():
                    self.answered(message)
                    lane.answered(message.command_id)
                case Deferred():
                    self.deferred += 1
                    lane.deferred(message.command_id, now=self.clock.monotonic())
            self._bell.set()
