"""This file is the console's database, opened: migrated, guarded, and entered through a scope."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.console.migrations import upgrade
from gateway.console.store.engine import Engines, Lane, open_engines
from gateway.console.store.finishing import finished
from gateway.console.store.scope import Everybody, Scope, Within, guard
from gateway.console.store.tables import schema
from gateway.kit.errors import GatewayError, Remedy

PATIENCE = 30.0
"""Seconds a transaction waits for its turn."""


class StoreUnavailableError(GatewayError):
    """The console's database does not answer."""

    code = "console.store_unavailable"
    remedy = Remedy.RETRY


class StoreConflictError(GatewayError):
    """Somebody else changed the same thing at the same moment."""

    code = "console.store_conflict"
    remedy = Remedy.RETRY


class Store:
    """The database. Each transaction is entered with `reading` or `writing` and sees one scope."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str) -> "AsyncIterator[Store]":
        """Open the database, bring its tables to this program's version and close it on leaving."""
        engines = open_engines(database_url)
        try:
            async with _transaction(engines.writer) as connection:
                await finished(connection.run_sync(upgrade.to_head, schema))
            for engine in {engines.writer.engine, engines.reader.engine}:
                guard(engine)
            yield cls(engines)
        finally:
            await finished(engines.dispose())

    @asynccontextmanager
    async def reading(self, scope: Scope) -> AsyncIterator[Within]:
        """Enter a transaction that only reads; all of it sees the same moment."""
        async with _transaction(self._engines.reader, tenant=scope.tenant) as connection:
            yield Within(connection, scope)

    @asynccontextmanager
    async def writing(self, scope: Scope) -> AsyncIterator[Within]:
        """Enter a transaction that is on disk when this ends well, and undone when it does not."""
        async with _transaction(self._engines.writer, tenant=scope.tenant) as connection:
            yield Within(connection, scope)

    @asynccontextmanager
    async def reading_unscoped(self, why: str) -> AsyncIterator[Everybody]:
        """Read before the tenant is known; `why` is the reason. For `store/doors.py` only."""
        async with _transaction(self._engines.reader, unscoped=why) as connection:
            yield Everybody(connection)

    @asynccontextmanager
    async def writing_unscoped(self, why: str) -> AsyncIterator[Everybody]:
        """Write before the tenant is known; `why` is the reason. For `store/doors.py` only."""
        async with _transaction(self._engines.writer, unscoped=why) as connection:
            yield Everybody(connection)


@asynccontextmanager
async def _transaction(lane: Lane, **options: object) -> AsyncIterator[AsyncConnection]:
    async with _turn(lane):
        with _translated():
            connection = await finished(_begun(lane.engine, options), undo=_given_up)
            try:
                yield connection
                await finished(connection.commit())
            except BaseException:
                await finished(_given_up(connection))
                raise
            await finished(connection.close())


@asynccontextmanager
async def _turn(lane: Lane) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            await lane.turn.acquire()
    except TimeoutError as fault:
        raise StoreUnavailableError("the console's database has too much to do: try again") from fault
    try:
        yield
    finally:
        lane.turn.release()


async def _begun(engine: AsyncEngine, options: dict[str, object]) -> AsyncConnection:
    connection = await engine.connect()
    try:
        await connection.execution_options(**options)
        await connection.begin()
    except BaseException:
        await connection.close()
        raise
    return connection


async def _given_up(connection: AsyncConnection) -> None:
    try:
        await connection.rollback()
    finally:
        await connection.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as fault:
        raise StoreConflictError(
            "somebody else changed the same thing at the same moment: look at it and try again"
        ) from fault
    except (DBAPIError, PoolTimeoutError) as fault:
        raise StoreUnavailableError(
            "the console's database does not answer: try again, and look at the console's log and disk if it persists"
        ) from fault
