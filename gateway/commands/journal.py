"""This file is the ledger on disk: SQLite, flushed before anybody is told, replayed at the start.

::

    entries   seq | at | command_id | kind | body      what happened, in order; the ledger is their sum
    events    number | at | command_id | body          what the console is still to be told, or was told lately
    meta      name | value                             the highest event number used and acknowledged

Entries and the events that tell of them are written in one transaction, so none is ever without the other.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from gateway.commands import ledger as ledgers
from gateway.commands.ledger import Accepted, CommandState, Entry, Ledger
from gateway.contract.commands import Command
from gateway.contract.events import CommandOutcome, Event, EventBody
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

LEVEL = 1
RETENTION = 7 * 86400.0
KINDS = {
    kind.__name__: kind
    for kind in (
        ledgers.Began,
        ledgers.StepBegan,
        ledgers.StepNoted,
        ledgers.StepDone,
        ledgers.CancelAsked,
        ledgers.Ended,
    )
}
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,
    command_id TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entries_command ON entries (command_id);
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, at REAL NOT NULL,
    command_id TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

Result = TypeVar("Result")
Said = tuple[UUID, EventBody]


class JournalError(GatewayError):
    """The journal cannot be read or written."""

    code = "journal.unusable"
    remedy = Remedy.OPERATOR


class Journal:
    """An open journal. `ledger` is what it says; only `write` changes either."""

    def __init__(self, database: sqlite3.Connection, thread: ThreadPoolExecutor, clock: Clock) -> None:
        self._database = database
        self._thread = thread
        self._clock = clock
        self._order = asyncio.Lock()
        self.ledger = Ledger()
        self.changed = asyncio.Condition()
        self.last_event = 0
        self.acknowledged = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, *, clock: Clock) -> AsyncIterator["Journal"]:
        """Open the journal at `path`, making it where there is none. Raises JournalError."""
        with ThreadPoolExecutor(1, thread_name_prefix="journal") as thread:
            loop = asyncio.get_running_loop()
            database = await loop.run_in_executor(thread, _connect, path)
            journal = cls(database, thread, clock)
            try:
                await journal._in_thread(journal._replay)
                yield journal
            finally:
                await loop.run_in_executor(thread, database.close)

    async def accept(self, command: Command) -> None:
        """Write a command down; when this returns it is on disk. Does nothing when it was known already.

        Raises CommandChangedError or JournalError.
        """
        try:
            async with self._order:
                await self._commit(self.ledger.accept(command), ())
        finally:
            await self._wake()

    async def write(self, entries: Sequence[Entry], said: Sequence[Said] = ()) -> None:
        """Write entries and the events that tell of them, together, flushed; then take them into account.

        A cancellation takes effect after the write, never in the middle. Raises JournalError.
        """
        try:
            async with self._order:
                await self._commit(entries, said)
        finally:  # a cancellation comes after the write, and who waits for it must hear of it all the same
            await self._wake()

    async def events_after(self, number: int, *, limit: int) -> list[Event]:
        """Return up to `limit` events with numbers above `number`, in order."""
        query = "SELECT number, at, command_id, body FROM events WHERE number > ? ORDER BY number LIMIT ?"
        rows = await self._in_thread(lambda: self._database.execute(query, (number, limit)).fetchall())
        return [
            Event.model_validate({"number": n, "at": at, "command_id": command, "body": json.loads(body)})
            for n, at, command, body in rows
        ]

    async def acknowledge(self, number: int) -> None:
        """Take note that the console has every event up to `number`; a lower or unknown number changes nothing."""
        async with self._order:
            if not self.acknowledged < number <= self.last_event:
                return
            await self._in_thread(lambda: self._store_acknowledged(number), then=lambda _: self._noted(number))

    def open_commands(self) -> list[UUID]:
        """Return the ids of the commands that have not ended, in the order in which they were accepted."""
        return [one.command.id for one in self.ledger if one.state is not CommandState.ENDED]

    async def abandon(self, commands: Collection[UUID]) -> None:
        """Write down that these commands are over for whoever sent them: they are not begun any more, or cut.

        Those that have ended, or were never accepted, change nothing.
        """
        open_now = [one for one in self.ledger if one.state is not CommandState.ENDED and one.cancelled_by is None]
        ids = [one.command.id for one in open_now if one.command.id in commands]
        await self.write([ledgers.CancelAsked(one, by=one) for one in ids])

    async def resume_after(self, number: int) -> None:
        """Go on counting events behind `number`, because the console has events up to there that are not known here.

        Events that the console has not acknowledged get new numbers behind it: some it may know already, and hears
        again. A number that is known here changes nothing.
        """
        try:
            async with self._order:
                if number > self.last_event:
                    await self._in_thread(lambda: self._store_moved(number), then=lambda _: self._moved(number))
        finally:
            await self._wake()

    async def compact(self) -> None:
        """Remove commands that ended, and were acknowledged, more than a week ago."""
        async with self._order:
            old = [r.command.id for r in self.ledger if r.state is CommandState.ENDED]
            await self._in_thread(lambda: self._delete_old(old), then=self._forget)

    async def _commit(self, entries: Sequence[Entry], said: Sequence[Said]) -> None:
        if not entries and not said:
            return
        first = self.last_event + 1
        at = self._clock.now().timestamp()
        entry_rows = [(at, str(_command_of(entry)), type(entry).__name__, _body(entry)) for entry in entries]
        event_rows = [
            (number, at, str(command), body.model_dump_json()) for number, (command, body) in enumerate(said, first)
        ]

        def stored(_: None) -> None:
            self.last_event += len(event_rows)
            for entry in entries:
                self.ledger.apply(entry)

        await self._in_thread(lambda: self._store(entry_rows, event_rows), then=stored)

    def _noted(self, number: int) -> None:
        self.acknowledged = number

    def _moved(self, number: int) -> None:
        self.last_event = number + self.last_event - self.acknowledged
        self.acknowledged = number

    def _forget(self, commands: list[UUID]) -> None:
        for command_id in commands:
            self.ledger.forget(command_id)

    def _store(self, entries: list[tuple[float, str, str, str]], events: list[tuple[int, float, str, str]]) -> None:
        with self._database:
            self._database.executemany("INSERT INTO entries (at, command_id, kind, body) VALUES (?, ?, ?, ?)", entries)
            self._database.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", events)
            if events:
                self._database.execute("REPLACE INTO meta VALUES ('last_event', ?)", (events[-1][0],))

    def _store_acknowledged(self, number: int) -> None:
        with self._database:
            self._database.execute("REPLACE INTO meta VALUES ('acknowledged', ?)", (number,))

    def _store_moved(self, number: int) -> None:
        by, first = number - self.acknowledged, self.acknowledged
        with self._database:
            # Numbers are unique at every moment: they make room for each other below zero.
            self._database.execute("UPDATE events SET number = -(number + ?) WHERE number > ?", (by, first))
            self._database.execute("UPDATE events SET number = -number WHERE number < 0")
            self._database.execute("REPLACE INTO meta VALUES ('acknowledged', ?)", (number,))
            self._database.execute("REPLACE INTO meta VALUES ('last_event', ?)", (self.last_event + by,))

    def _delete_old(self, candidates: list[UUID]) -> list[UUID]:
        before = self._clock.now().timestamp() - RETENTION
        youngest = "SELECT max(at) FROM entries WHERE command_id = ?"
        waiting = "SELECT count(*) FROM events WHERE command_id = ? AND number > ?"
        old: list[UUID] = []
        with self._database:
            for one in candidates:
                recent = self._database.execute(youngest, (str(one),)).fetchone()[0] >= before
                if recent or self._database.execute(waiting, (str(one), self.acknowledged)).fetchone()[0]:
                    continue
                self._database.execute("DELETE FROM entries WHERE command_id = ?", (str(one),))
                self._database.execute("DELETE FROM events WHERE command_id = ?", (str(one),))
                old.append(one)
        return old

    def _replay(self) -> None:
        meta = dict(self._database.execute("SELECT name, value FROM meta").fetchall())
        self.last_event = meta.get("last_event", 0)
        self.acknowledged = meta.get("acknowledged", 0)
        for seq, kind, body in self._database.execute("SELECT seq, kind, body FROM entries ORDER BY seq"):
            try:
                self.ledger.apply(_entry(kind, json.loads(body)))
            except (ValueError, KeyError, TypeError, AttributeError, GatewayError) as fault:
                raise JournalError(
                    f"entry {seq} ({kind}) of the journal cannot be read: run the version that wrote it, or restore "
                    "the state directory from a copy"
                ) from fault

    async def _in_thread(self, work: Callable[[], Result], *, then: Callable[[Result], None] | None = None) -> Result:
        """Run `work` in the journal's thread and `then` with its result here; a cancellation waits for both."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as fault:
                cancelled = fault
        try:
            result = future.result()
        except sqlite3.Error as fault:
            raise JournalError(f"the journal cannot be written or read: {fault}; {_way_out(fault)}") from fault
        if then is not None:
            then(result)
        if cancelled is not None:
            raise cancelled
        return result

    async def _wake(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.touch(mode=0o600)
        database = sqlite3.connect(path, isolation_level="IMMEDIATE", check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        level = database.execute("PRAGMA user_version").fetchone()[0]
        if level > LEVEL:
            raise JournalError(
                f"the journal {path} was written by a newer version (level {level}, this one knows {LEVEL}): "
                "run the newer version"
            )
        database.executescript(SCHEMA)
        database.execute(f"PRAGMA user_version = {LEVEL}")
    except (sqlite3.Error, OSError) as fault:
        raise JournalError(f"the journal {path} cannot be opened: {fault}") from fault
    return database


def _way_out(fault: sqlite3.Error) -> str:
    code = getattr(fault, "sqlite_errorcode", None)  # errors of the Python module itself have none
    if code == sqlite3.SQLITE_FULL:
        return "the disk is full: make room"
    return "look at the disk, or restore the state directory from a copy"


def _command_of(entry: Entry) -> UUID:
    return entry.command.id if isinstance(entry, Accepted) else entry.command_id


def _body(entry: Entry) -> str:
    if isinstance(entry, Accepted):
        return entry.command.model_dump_json()
    return json.dumps(asdict(entry), default=str)


def _entry(kind: str, body: dict[str, str]) -> Entry:
    if kind == Accepted.__name__:
        return Accepted(Command.model_validate(body))
    fields: dict[str, object] = dict(body) | {"command_id": UUID(body["command_id"])}
    if "by" in body:
        fields["by"] = UUID(body["by"])
    if "outcome" in body:
        fields["outcome"] = CommandOutcome(body["outcome"])
    return KINDS[kind](**fields)  # type: ignore[arg-type]
