"""This file is a disk in memory that loses what a real one would: what was not flushed may be there, gone, or torn.

::

    log      length | checksum | batch    length | checksum | batch    …          as in a write-ahead log
                                          └── not flushed: a cut keeps all of it, none, or some bytes

After a cut everything is read again from the log; a batch whose checksum is wrong was never written.
"""

import asyncio
import pickle
import random
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from gateway.commands.disk import Batch, DiskFullError, EntryRow, EventRow, JournalError, Loaded
from tests.simulation.power import Power

GIB = 1 << 30


@dataclass(slots=True)
class Ending:
    """A command that has ended."""

    last_event: int
    loose: bool
    known_at: float | None = None


@dataclass(slots=True)
class Content:
    """What the log says, summed up."""

    entries: list[EntryRow] = field(default_factory=list)
    events: dict[int, EventRow] = field(default_factory=dict)
    endings: dict[UUID, Ending] = field(default_factory=dict)
    last_event: int = 0
    acknowledged: int = 0

    def take(self, batch: Batch) -> None:
        if batch.move is not None:
            self._renumber(batch.move.above, batch.move.by)
        self.entries += batch.entries
        for one in batch.events:
            self.events[one.number] = one
            self.last_event = one.number
        for ended in batch.endings:
            self.endings[ended.command_id] = Ending(ended.last_event, ended.loose)
        if batch.acknowledged is not None:
            self.acknowledged = batch.acknowledged
            for ending in self.endings.values():
                if ending.known_at is None and ending.last_event <= batch.acknowledged:
                    ending.known_at = batch.at

    def drop(self, gone: Collection[UUID]) -> None:
        self.entries = [one for one in self.entries if one.command_id not in gone]
        self.events = {number: one for number, one in self.events.items() if one.command_id not in gone}
        for one in gone:
            self.endings.pop(one, None)

    def _renumber(self, above: int, by: int) -> None:
        moved = [one._replace(number=one.number + by) if one.number > above else one for one in self.events.values()]
        self.events = {one.number: one for one in moved}
        for ending in self.endings.values():
            if ending.last_event > above:
                ending.last_event += by
        self.last_event = max(self.last_event, above) + by
        self.acknowledged = above + by


class SimulatedDisk:
    """Outlasts every cut. `power` is the one it runs on now; `faults` in a hundred writes fail."""

    def __init__(self, draw: random.Random, power: Power) -> None:
        self.power = power
        self.faults = 0
        self.free = GIB
        self.content = Content()
        self.flushes = 0
        self._draw = draw
        self._log = b""
        self._tail = b""

    async def load(self) -> Loaded:
        self.power.check()
        self._read_again()
        known, loose = set(), set()
        for command_id, ending in self.content.endings.items():
            if ending.known_at is not None:
                (loose if ending.loose else known).add(command_id)
        return Loaded(
            [one for one in self.content.entries if one.kind == "PauseSet" or one.command_id not in known],
            {
                command_id: ending.last_event
                for command_id, ending in self.content.endings.items()
                if ending.known_at is None or ending.loose
            },
            self.content.last_event,
            self.content.acknowledged,
        )

    async def append(self, batch: Batch) -> None:
        cancelled = await self._write("append", batch)
        self.content.take(batch)
        self.power.flush_point()
        if cancelled is not None:
            raise cancelled

    async def find(self, command_id: UUID) -> str | None:
        await asyncio.sleep(0)  # as a thread would, it lets others go first
        self.power.check()
        rows = self.content.entries
        return next((one.body for one in rows if one.command_id == command_id and one.kind == "Accepted"), None)

    async def events_after(self, number: int, *, limit: int) -> list[EventRow]:
        await asyncio.sleep(0)  # as a thread would, it lets others go first
        self.power.check()
        return [self.content.events[one] for one in sorted(self.content.events) if one > number][:limit]

    async def delete(self, before: float, *, keep: Collection[UUID], limit: int) -> list[UUID]:
        old = [
            command_id
            for command_id, ending in self.content.endings.items()
            if ending.known_at is not None and ending.known_at < before and command_id not in keep
        ][:limit]
        if old:
            await self._write("drop", old)
            self.content.drop(set(old))
        return old

    async def free_bytes(self) -> int:
        await asyncio.sleep(0)  # as a thread would, it lets others go first
        self.power.check()
        return self.free

    def lose_power(self) -> None:
        """Let the cut do to the log what it does to what was not flushed."""
        tail, self._tail = self._tail, b""
        match self._draw.randrange(4):
            case 0:
                self._log += tail
            case 1:
                self._log += tail[: self._draw.randrange(len(tail) + 1)]
            case 2:
                cut = self._draw.randrange(len(tail) + 1)
                self._log += tail[:cut] + self._draw.randbytes(len(tail) - cut)

    async def _write(self, verb: str, what: object) -> asyncio.CancelledError | None:
        """Write and flush; a cancellation meanwhile is returned, for it comes afterwards."""
        body = pickle.dumps((verb, what))
        record = len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body
        self.power.flush_point()
        if self.free < len(record) or self._draw.randrange(100) < self.faults:
            self._tail = record if self._draw.random() < 0.5 else b""
            raise DiskFullError("no room") if self.free < len(record) else JournalError("the disk does not answer")
        self._tail, cancelled = record, None
        try:
            await self.power.last(self._draw.uniform(0.0005, 0.02))
        except asyncio.CancelledError as fault:
            cancelled = fault
        self._log += record
        self._tail = b""
        self.flushes += 1
        return cancelled

    def _read_again(self) -> None:
        content, at = Content(), 0
        while (body := self._record(at)) is not None:
            verb, what = pickle.loads(body)  # noqa: S301 - our own bytes
            if verb == "append":
                content.take(what)
            else:
                content.drop(set(what))
            at += 8 + len(body)
        self._log, self.content = self._log[:at], content

    def _record(self, at: int) -> bytes | None:
        size, check = self._log[at : at + 4], self._log[at + 4 : at + 8]
        body = self._log[at + 8 : at + 8 + int.from_bytes(size, "big")]
        if len(check) < 4 or len(body) < int.from_bytes(size, "big") or not body:
            return None
        return body if zlib.crc32(body) == int.from_bytes(check, "big") else None
