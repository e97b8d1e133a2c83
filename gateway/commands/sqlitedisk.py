"""This file is a journal's disk in SQLite: WAL, `synchronous=FULL`, one thread, one transaction a batch.

::

    entries   seq | at | command_id | kind | body      what happened, in order; the ledger is their sum
    events    number | at | command_id | body          what the console is still to be told, or was told lately
    endings   command_id | last_event | known_at …     commands that ended, and when the console knew of it
    meta      name | value                             the highest event number used and acknowledged
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from gateway.commands.disk import (
    Batch,
    DiskFullError,
    EntryRow,
    EventRow,
    JournalError,
    Loaded,
    Move,
)
from gateway.commands.reserve import Reserve

LEVEL = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,
    command_id TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entries_command ON entries (command_id);
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, at REAL NOT NULL,
    command_id TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_command ON events (command_id);
CREATE TABLE IF NOT EXISTS endings (command_id TEXT PRIMARY KEY, last_event INTEGER NOT NULL,
    loose INTEGER NOT NULL, known_at REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS endings_known ON endings (known_at);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
OF_INTEREST = """
SELECT at, command_id, kind, body FROM entries AS one WHERE kind = 'PauseSet' OR NOT EXISTS (
    SELECT 1 FROM endings WHERE endings.command_id = one.command_id AND known_at IS NOT NULL AND NOT loose
) ORDER BY seq
"""
Result = TypeVar("Result")


class SqliteDisk:
    """An open journal file. Everything happens in one thread, in the order in which it was asked for."""

    def __init__(self, database: sqlite3.Connection, thread: ThreadPoolExecutor, reserve: Reserve) -> None:
        self._database = database
        self._thread = thread
        self._reserve = reserve

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, *, reserve: int = 0) -> AsyncIterator["SqliteDisk"]:
        """Open the file at `path`, making it where there is none, and a reserve of so many bytes beside it.

        Raises JournalError.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="journal") as thread:
            loop = asyncio.get_running_loop()
            kept = Reserve(path.with_name("reserve"), reserve)
            database = await loop.run_in_executor(thread, _connect_somehow, path, kept)
            disk = cls(database, thread, kept)
            try:
                await disk._in_thread(disk._reserve.keep)
                yield disk
            finally:
                await loop.run_in_executor(thread, database.close)

    async def load(self) -> Loaded:
        """Return what was written, in the order of writing."""
        return await self._in_thread(self._load)

    async def append(self, batch: Batch) -> None:
        """Write a batch, flushed. Where there is no room for it the reserve is given up. Raises JournalError."""
        await self._in_thread(lambda: self._store_somehow(batch))

    async def find(self, command_id: UUID) -> str | None:
        """Return the body a command was accepted with; None if it is not kept."""
        query = "SELECT body FROM entries WHERE command_id = ? AND kind = 'Accepted'"
        row = await self._in_thread(lambda: self._database.execute(query, (str(command_id),)).fetchone())
        return None if row is None else str(row[0])

    async def events_after(self, number: int, *, limit: int) -> list[EventRow]:
        """Return up to `limit` events with numbers above `number`, in order."""
        query = "SELECT number, at, command_id, body FROM events WHERE number > ? ORDER BY number LIMIT ?"
        rows = await self._in_thread(lambda: self._database.execute(query, (number, limit)).fetchall())
        return [EventRow(one, at, UUID(command), body) for one, at, command, body in rows]

    async def delete(self, before: float, *, keep: Collection[UUID], limit: int) -> list[UUID]:
        """Remove up to `limit` commands that the console knew to have ended before that time; return which."""
        return await self._in_thread(lambda: self._delete(before, [str(one) for one in keep], limit))

    async def free_bytes(self) -> int:
        """Return how many bytes there is room for, the reserve not counted; there is one again where there can be."""
        return await self._in_thread(self._reserve.free_beside)

    def _load(self) -> Loaded:
        meta = dict(self._database.execute("SELECT name, value FROM meta").fetchall())
        rows = self._database.execute(OF_INTEREST)
        ended = self._database.execute("SELECT command_id, last_event FROM endings WHERE known_at IS NULL OR loose")
        return Loaded(
            [EntryRow(at, UUID(command), kind, body) for at, command, kind, body in rows],
            {UUID(command): number for command, number in ended},
            meta.get("last_event", 0),
            meta.get("acknowledged", 0),
        )

    def _store_somehow(self, batch: Batch) -> None:
        try:
            self._store(batch)
        except sqlite3.Error as fault:
            if not _is_full(fault) or not self._reserve.give_up():
                raise
            self._store(batch)

    def _store(self, batch: Batch) -> None:
        run, many = self._database.execute, self._database.executemany
        with self._database:
            if batch.move is not None:
                self._renumber(batch.move)
            many(
                "INSERT INTO entries (at, command_id, kind, body) VALUES (?, ?, ?, ?)",
                [(one.at, str(one.command_id), one.kind, one.body) for one in batch.entries],
            )
            many(
                "INSERT INTO events VALUES (?, ?, ?, ?)",
                [(one.number, one.at, str(one.command_id), one.body) for one in batch.events],
            )
            many(
                "REPLACE INTO endings VALUES (?, ?, ?, NULL)",
                [(str(one.command_id), one.last_event, one.loose) for one in batch.endings],
            )
            if batch.events:
                run("REPLACE INTO meta VALUES ('last_event', ?)", (batch.events[-1].number,))
            if batch.acknowledged is not None:
                run("REPLACE INTO meta VALUES ('acknowledged', ?)", (batch.acknowledged,))
                run(
                    "UPDATE endings SET known_at = ? WHERE known_at IS NULL AND last_event <= ?",
                    (batch.at, batch.acknowledged),
                )

    def _renumber(self, move: Move) -> None:
        run = self._database.execute
        # Numbers are unique at every moment: they make room for each other below zero.
        run("UPDATE events SET number = -(number + ?) WHERE number > ?", (move.by, move.above))
        run("UPDATE events SET number = -number WHERE number < 0")
        run("UPDATE endings SET last_event = last_event + ? WHERE last_event > ?", (move.by, move.above))
        run("REPLACE INTO meta VALUES ('acknowledged', ?)", (move.above + move.by,))
        run("INSERT OR IGNORE INTO meta VALUES ('last_event', ?)", (move.above,))
        run("UPDATE meta SET value = value + ? WHERE name = 'last_event'", (move.by,))

    def _delete(self, before: float, keep: list[str], limit: int) -> list[UUID]:
        held = ",".join("?" * len(keep))
        query = f"SELECT command_id FROM endings WHERE known_at < ? AND command_id NOT IN ({held}) LIMIT ?"  # noqa: S608
        with self._database:
            old = [row[0] for row in self._database.execute(query, (before, *keep, limit))]
            for table in ("entries", "events", "endings"):
                statement = f"DELETE FROM {table} WHERE command_id = ?"  # noqa: S608 - one of three words above
                self._database.executemany(statement, [(one,) for one in old])
        return [UUID(one) for one in old]

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        """Run `work` in the journal's thread; a cancellation waits for it."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as fault:
                cancelled = fault
        if cancelled is not None:
            future.exception()  # nobody is left to hear of it
            raise cancelled
        try:
            return future.result()
        except (sqlite3.Error, OSError) as fault:
            raise _named(fault) from fault


def _connect_somehow(path: Path, reserve: Reserve) -> sqlite3.Connection:
    """Open the file also on a disk that is full, if there is a reserve to give up. Raises JournalError."""
    try:
        return _connect(path)
    except DiskFullError:
        if not reserve.give_up():
            raise
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.touch(mode=0o600)
        database = sqlite3.connect(path, isolation_level="IMMEDIATE", check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        level = database.execute("PRAGMA user_version").fetchone()[0]
        _check_level(path, level)
        if level != LEVEL:  # what is there already is not written again: it takes no room on a disk that is full
            database.executescript(SCHEMA)
            database.execute(f"PRAGMA user_version = {LEVEL}")
    except (sqlite3.Error, OSError) as fault:
        kind = DiskFullError if _is_full(fault) else JournalError
        raise kind(f"the journal {path} cannot be opened: {fault}") from fault
    return database


def _check_level(path: Path, level: int) -> None:
    if level in {0, LEVEL}:
        return
    other = "newer" if level > LEVEL else "older"
    raise JournalError(
        f"the journal {path} was written by a {other} version (level {level}, this one knows {LEVEL}): "
        f"run the {other} version"
    )


def _named(fault: Exception) -> JournalError:
    said = f"the journal cannot be written or read: {fault}"
    if _is_full(fault):
        return DiskFullError(f"{said}; the disk is full: make room")
    return JournalError(f"{said}; look at the disk, or restore the state directory from a copy")


def _is_full(fault: Exception) -> bool:
    code = getattr(fault, "sqlite_errorcode", None)  # errors of the Python module itself have none
    return code == sqlite3.SQLITE_FULL or "disk is full" in str(fault)
