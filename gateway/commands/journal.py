"""This file is the ledger on disk: flushed before anybody is told, replayed at the start.

::

    accept, write, acknowledge ... ---> queue ---> decided on a draft ---> one flush ---> applied ---> told

Whoever writes while a flush is under way shares the next one with all others who do. Entries and the events that tell
of them are written in one transaction, so none is ever without the other.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import structlog

from gateway.commands import entries as kinds
from gateway.commands import progress
from gateway.commands.disk import (
    Batch,
    Disk,
    Ending,
    EntryRow,
    EventRow,
    JournalError,
    Move,
)
from gateway.commands.entries import Ended, Entry
from gateway.commands.ledger import Decision, Ledger, Said, check_same
from gateway.commands.progress import Latest
from gateway.commands.sqlitedisk import SqliteDisk
from gateway.contract.commands import Command
from gateway.contract.events import Event, StepProgress
from gateway.kit import supervise
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

__all__ = ["RESERVE", "Journal", "JournalError"]

RETENTION = 7 * 86400.0
"""Seconds for which a command is kept after the console knew that it had ended."""
PIECE = 100
"""Commands that are removed in one transaction."""
TOGETHER = 256
"""Writes that share one flush, at most."""
LOW = 128 * 1024 * 1024
"""Bytes of free disk below which nothing new is accepted and no progress is written."""
RESERVE = 64 * 1024 * 1024
"""Bytes that an appliance keeps back for the day its disk is full."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a write that failed is tried again, the first time and at most."""

log = structlog.get_logger(__name__)
Decide = Callable[[Ledger], Decision]


@dataclass(slots=True, eq=False)
class Write:
    """Something that waits to be written. One that is not `patient` is told when the disk fails; others wait."""

    decide: Decide
    patient: bool
    done: asyncio.Future[None]
    in_flush: bool = False
    left: bool = False
    """Whoever wanted it was cancelled, and waits only until it is known whether it was written."""


@dataclass(slots=True)
class Flush:
    """What goes to the disk together."""

    batch: Batch
    entries: list[Entry] = field(default_factory=list)
    last_event: int = 0
    acknowledged: int = 0


class Journal:
    """An open journal. `ledger` is what it says; `changed` is notified after every write."""

    def __init__(self, disk: Disk, clock: Clock) -> None:
        self._disk = disk
        self._clock = clock
        self._queue: list[Write] = []
        self._asked = asyncio.Event()
        self._spoken = asyncio.Event()
        self._accepting = asyncio.Lock()
        self._trouble: JournalError | None = None
        self._latest = Latest()
        self._ended: dict[UUID, int] = {}
        self.ledger = Ledger()
        self.changed = asyncio.Condition()
        self.last_event = 0
        self.acknowledged = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, *, clock: Clock, reserve: int = 0) -> AsyncIterator["Journal"]:
        """Open the journal at `path`, making it where there is none, with a reserve of so many bytes beside it.

        Raises JournalError.
        """
        async with SqliteDisk.open(path, reserve=reserve) as disk, cls.over(disk, clock=clock) as journal:
            yield journal

    @classmethod
    @asynccontextmanager
    async def over(cls, disk: Disk, *, clock: Clock) -> AsyncIterator["Journal"]:
        """Replay what a disk holds, and keep the journal there. Raises JournalError."""
        journal = cls(disk, clock)
        await journal._replay()
        async with supervise.running(flushes=journal._flush_for_ever(), progress=journal._say_progress()):
            yield journal

    async def knows(self, command: Command) -> bool:
        """Tell whether a command was accepted, however long it is over. Raises CommandChangedError or JournalError."""
        known = self.ledger.get(command.id)
        if known is not None:
            check_same(known.command, command)
            return True
        body = await self._disk.find(command.id)
        if body is None:
            return False
        check_same(Command.model_validate_json(body), command)
        return True

    async def accept(self, command: Command) -> None:
        """Write a command down; when this returns it is on disk. Does nothing when it was known already.

        It is the one write that does not wait for a disk that fails. Raises CommandChangedError or JournalError.
        """
        async with self._accepting:  # what is looked up is still so when it is decided: all accepting is done here
            if not await self.knows(command):
                await self._written(lambda ledger: ledger.accept(command), patient=False)

    async def write(self, entries: Sequence[Entry], said: Sequence[Said] = ()) -> None:
        """Write entries and the events that tell of them, together, flushed; then take them into account.

        A cancellation takes effect before the write or after it, never in the middle. A disk that cannot be written
        is waited for.
        """
        await self.settle(lambda _: Decision(entries, said))

    async def settle(self, decide: Decide) -> None:
        """Write what `decide` makes of the ledger as it will be when all that was asked for earlier is written."""
        await self._written(decide, patient=True)

    def progress(self, command_id: UUID, word: StepProgress) -> None:
        """Report how far a step is, when there is time and room; see `progress`."""
        self._latest.say(command_id, word)
        self._spoken.set()

    async def events_after(self, number: int, *, limit: int) -> list[Event]:
        """Return up to `limit` events with numbers above `number`, in order. Raises JournalError."""
        rows = await self._disk.events_after(number, limit=limit)
        return [
            Event.model_validate_json(
                f'{{"number":{one.number},"at":{one.at!r},"command_id":"{one.command_id}","body":{one.body}}}'
            )
            for one in rows
        ]

    async def acknowledge(self, number: int) -> None:
        """Take note that the console has every event up to `number`; a lower or unknown number changes nothing."""
        if self.acknowledged < number <= self.last_event:
            await self.settle(lambda _: Decision(acknowledged=number))

    def open_commands(self) -> list[UUID]:
        """Return the ids of the commands that have not ended, in the order in which they were accepted."""
        return self.ledger.open_commands()

    async def abandon(self, commands: Collection[UUID]) -> None:
        """Write down that these commands are over for whoever sent them: they are not begun any more, or cut.

        Those that have ended, or were never accepted, change nothing.
        """
        await self.settle(lambda ledger: ledger.abandon(commands))

    async def resume_after(self, number: int) -> None:
        """Go on counting events behind `number`, because the console has events up to there that are not known here.

        Events that the console has not acknowledged get new numbers behind it: some it may know already, and hears
        again. A number that is known here changes nothing.
        """
        await self.settle(lambda _: Decision(counted_to=number))

    async def compact(self) -> None:
        """Remove commands of which the console knew more than a week ago that they had ended, a piece at a time."""
        before = self._clock.now().timestamp() - RETENTION
        while gone := await self._disk.delete(before, keep=self.ledger.pauses.values(), limit=PIECE):
            for command_id in gone:
                self._ended.pop(command_id, None)
                self.ledger.forget(command_id)

    async def is_low(self) -> bool:
        """Tell whether the disk has too little room for anything new. Raises JournalError."""
        return await self._disk.free_bytes() < LOW

    async def _written(self, decide: Decide, *, patient: bool) -> None:
        if self._trouble is not None and not patient:
            raise self._trouble
        one = Write(decide, patient, asyncio.get_running_loop().create_future())
        self._queue.append(one)
        self._asked.set()
        cancelled: asyncio.CancelledError | None = None
        while not one.done.done():
            try:
                await asyncio.wait([one.done])
            except asyncio.CancelledError as fault:
                one.left, cancelled = True, fault
                if not one.in_flush and not one.done.done():
                    self._queue.remove(one)
                    raise
        failure = one.done.exception()
        if cancelled is not None:
            raise cancelled
        if failure is not None:
            raise failure

    async def _flush_for_ever(self) -> None:
        pause = FIRST_PAUSE
        try:
            while True:
                while not self._queue:
                    self._asked.clear()
                    await self._asked.wait()
                try:
                    await self._flush()
                except JournalError as fault:
                    self._failed(fault)
                    if self._queue:
                        await self._clock.sleep(pause)
                        pause = min(LONGEST_PAUSE, pause * 2)
                else:
                    self._works_again()
                    pause = FIRST_PAUSE
        finally:
            for one in self._queue:
                if not one.done.done():
                    one.done.set_exception(JournalError("the journal is closed"))

    async def _flush(self) -> None:
        taken = self._queue[:TOGETHER]
        for one in taken:
            one.in_flush = True
        flush = self._decided(taken)
        if not flush.batch.is_empty:
            await self._disk.append(flush.batch)
            self._apply(flush)
        del self._queue[: len(taken)]
        for one in taken:
            if not one.done.done():
                one.done.set_result(None)
        async with self.changed:
            self.changed.notify_all()

    def _decided(self, taken: list[Write]) -> Flush:
        """Decide, in order, what each has to write; memory stays as the disk is."""
        draft = self.ledger.draft()
        flush = Flush(Batch(self._clock.now().timestamp()), [], self.last_event, self.acknowledged)
        for one in taken:
            try:
                decision = one.decide(draft)
                for entry in decision.entries:
                    draft.apply(entry)
            except GatewayError as fault:
                one.done.set_exception(fault)
                continue
            _add(flush, decision, draft)
        return flush

    def _apply(self, flush: Flush) -> None:
        by = flush.batch.move.by if flush.batch.move is not None else 0
        self._ended = {one: number + by for one, number in self._ended.items()} if by else self._ended
        self._ended.update({one.command_id: one.last_event for one in flush.batch.endings})
        self.last_event, self.acknowledged = flush.last_event, flush.acknowledged
        for entry in flush.entries:
            self.ledger.apply(entry)
        self._forget_what_is_known()

    def _forget_what_is_known(self) -> None:
        """Ended commands that the console knows of stay on disk only, but for those that may still take effect."""
        for command_id in [one for one, number in self._ended.items() if number <= self.acknowledged]:
            known = self.ledger.get(command_id)
            if known is None or not known.loose:
                del self._ended[command_id]
                self.ledger.forget(command_id)

    def _failed(self, fault: JournalError) -> None:
        for one in self._queue:
            if not one.done.done() and (one.left or not one.patient):
                one.done.set_exception(fault)
            one.in_flush = False
        self._queue = [one for one in self._queue if not one.done.done()]
        if self._trouble is None:
            log.error("journal cannot be written, will be tried again", code=fault.code, error=fault.message)
        self._trouble = fault if self._queue else None

    def _works_again(self) -> None:
        if self._trouble is not None:
            log.info("journal is written again")
            self._trouble = None

    async def _say_progress(self) -> None:
        while True:
            await self._spoken.wait()
            self._spoken.clear()
            said = self._latest.taken()
            if await self._has_room_for_progress():
                await self.settle(functools.partial(progress.still_true, said))
            await self._clock.sleep(progress.PAUSE)

    async def _has_room_for_progress(self) -> bool:
        if self.last_event - self.acknowledged > progress.MOST_WAITING:
            return False
        try:
            return not await self.is_low()
        except JournalError:
            return False

    async def _replay(self) -> None:
        loaded = await self._disk.load()
        self.last_event, self.acknowledged = loaded.last_event, loaded.acknowledged
        self._ended = loaded.endings
        for seq, row in enumerate(loaded.entries, 1):
            try:
                self.ledger.apply(kinds.read(row.kind, row.body))
            except (ValueError, KeyError, TypeError, AttributeError, GatewayError) as fault:
                raise JournalError(
                    f"entry {seq} ({row.kind}) of the journal cannot be read: run the version that wrote it, or "
                    "restore the state directory from a copy"
                ) from fault


def _add(flush: Flush, decision: Decision, draft: Ledger) -> None:
    batch = flush.batch
    if decision.counted_to > flush.last_event:
        _move(flush, decision.counted_to)
    for entry in decision.entries:
        flush.entries.append(entry)
        batch.entries.append(EntryRow(batch.at, entry.command_id, *kinds.written(entry)))
    for command_id, body in decision.said:
        flush.last_event += 1
        batch.events.append(EventRow(flush.last_event, batch.at, command_id, body.model_dump_json()))
    for entry in decision.entries:
        if isinstance(entry, Ended):
            known = draft.get(entry.command_id)
            loose = known is not None and bool(known.loose)
            batch.endings.append(Ending(entry.command_id, flush.last_event, loose))
    if flush.acknowledged < decision.acknowledged <= flush.last_event:
        flush.acknowledged = batch.acknowledged = decision.acknowledged


def _move(flush: Flush, counted_to: int) -> None:
    batch, by = flush.batch, counted_to - flush.acknowledged
    batch.move = Move(flush.acknowledged, by)
    batch.events = [one._replace(number=one.number + by) for one in batch.events]
    batch.endings = [one._replace(last_event=one.last_event + by) for one in batch.endings]
    flush.last_event += by
    flush.acknowledged = counted_to
