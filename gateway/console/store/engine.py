"""This file is how the database is opened; all that is particular to SQLite is here.

SQLite takes one writer at a time. So there is one writing connection, whose transactions begin with
BEGIN IMMEDIATE and queue for it in order, and a pool of readers that never wait for it (WAL): nobody ever
meets "database is locked". Another database gets one pool for both.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.kit.errors import GatewayError, Remedy

BUSY_MS = 10_000
READERS = 4
POOL = 10


class DatabaseUnusableError(GatewayError):
    """The console cannot use the database it was told to."""

    code = "console.database_unusable"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Lane:
    """An engine, and the queue for its connections: first come, first served, and free to leave while waiting."""

    engine: AsyncEngine
    turn: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class Engines:
    """Where writes and where reads go; the same lane where the database can do both at once."""

    writer: Lane
    reader: Lane

    async def dispose(self) -> None:
        """Close every connection."""
        await self.writer.engine.dispose()
        if self.reader is not self.writer:
            await self.reader.engine.dispose()


def open_engines(database_url: str) -> Engines:
    """Return the engines for a URL; nothing is connected yet. A SQLite file is made private (0600).

    Raises DatabaseUnusableError.
    """
    try:
        return _opened(make_url(database_url))
    except ImportError as fault:
        raise DatabaseUnusableError(f"the database's driver is not installed: {fault.name}: install it") from fault
    except (ArgumentError, InvalidRequestError, TypeError, ValueError):
        # Not what the library says: it repeats the URL, and a URL may hold a password.
        raise DatabaseUnusableError(
            "PCG_CONSOLE_DATABASE is no SQLAlchemy URL of a database with an asynchronous driver: write it as "
            "postgresql+asyncpg://user:password@host/name"
        ) from None
    except OSError as fault:
        raise DatabaseUnusableError(f"the database's file cannot be made: {fault.strerror}") from fault


def _opened(url: URL) -> Engines:
    if url.get_backend_name() != "sqlite":
        engine = create_async_engine(url, pool_size=POOL, max_overflow=0, pool_pre_ping=True)
        lane = Lane(engine, asyncio.Semaphore(POOL))
        return Engines(lane, lane)
    if url.database:
        Path(url.database).touch(mode=0o600)
    return Engines(_sqlite(url, size=1, begin="BEGIN IMMEDIATE"), _sqlite(url, size=READERS, begin="BEGIN"))


def _sqlite(url: URL, *, size: int, begin: str) -> Lane:
    engine = create_async_engine(url, pool_size=size, max_overflow=0)

    def opened(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver would begin transactions late and by its own rules; see SQLAlchemy, "Serializable isolation".
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def began(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", opened)
    event.listen(engine.sync_engine, "begin", began)
    return Lane(engine, asyncio.Semaphore(size))
