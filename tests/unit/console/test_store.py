"""This file is what the console's database promises."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, or_, select, update

from gateway.console.store import gateways, people
from gateway.console.store.database import Store, StoreConflictError
from gateway.console.store.engine import open_engines
from gateway.console.store.scope import Scope, UnscopedStatementError
from gateway.console.store.tables import clusters, projects, schema, tenants
from gateway.console.store.tables import gateways as gateways_table
from gateway.kit import ids
from tests.fakes.console import tenant_scope


async def test_migrations_make_exactly_the_tables_of_the_program(store: Store, tmp_path: Path) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), schema))

    engines = open_engines(f"sqlite+aiosqlite:///{tmp_path / 'store.sqlite'}")
    async with engines.reader.engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engines.dispose()

    assert found == []


async def test_opening_again_changes_nothing_and_keeps_what_is_there(tmp_path: Path, now: datetime) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'again.sqlite'}"
    async with Store.open(url) as store:
        scope = await tenant_scope(store, "one", now)

    async with Store.open(url) as store:
        assert await tenant_scope(store, "one", now) == scope


async def test_the_database_file_is_private(store: Store, tmp_path: Path) -> None:
    files = [tmp_path / f"store.sqlite{ending}" for ending in ("", "-wal", "-shm")]

    assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * 3


async def test_sqlite_is_told_to_keep_its_promises(store: Store, tmp_path: Path) -> None:
    engines = open_engines(f"sqlite+aiosqlite:///{tmp_path / 'store.sqlite'}")
    async with engines.writer.engine.connect() as connection:
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    await engines.dispose()

    assert pragmas == ["wal", 2, 1]


async def test_many_writers_at_once_never_find_the_database_locked(store: Store, now: datetime) -> None:
    scope = Scope((await tenant_scope(store, "one", now)).tenant)

    async def add(number: int) -> None:
        async with store.writing(scope) as rows:
            await people.ensure_project(rows, f"project-{number}", now=now)

    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(add(number))

    async with store.reading(scope) as rows:
        assert len(await people.project_names(rows)) == 51


async def test_a_reader_sees_one_moment_and_does_not_wait_for_a_writer(store: Store, now: datetime) -> None:
    scope = Scope((await tenant_scope(store, "one", now)).tenant)

    async with store.writing(scope) as writing, store.reading(scope) as reading:
        await people.ensure_project(writing, "unborn", now=now)

        assert "unborn" not in (await people.project_names(reading)).values()


async def test_a_transaction_that_fails_leaves_nothing(store: Store, now: datetime) -> None:
    scope = Scope((await tenant_scope(store, "one", now)).tenant)

    async def fail() -> None:
        async with store.writing(scope) as rows:
            await people.ensure_project(rows, "unborn", now=now)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    async with store.reading(scope) as rows:
        assert list((await people.project_names(rows)).values()) == ["default"]


async def test_a_cancelled_writer_leaves_the_database_usable(store: Store, now: datetime) -> None:
    scope = Scope((await tenant_scope(store, "one", now)).tenant)
    began = asyncio.Event()

    async def hang() -> None:
        async with store.writing(scope) as rows:
            await people.ensure_project(rows, "unborn", now=now)
            began.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(hang())
        await began.wait()
        task.cancel()

    async with store.writing(scope) as rows:
        assert list((await people.project_names(rows)).values()) == ["default"]


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_a_writer_cancelled_at_any_moment_leaves_no_lock_behind(store: Store, now: datetime, steps: int) -> None:
    scope = Scope((await tenant_scope(store, "one", now)).tenant)

    async def write() -> None:
        async with store.writing(scope) as rows:
            for number in range(5):
                await people.ensure_project(rows, f"unborn-{number}", now=now)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(write())
        for _ in range(steps):
            await asyncio.sleep(0.0005)
        task.cancel()

    async with asyncio.timeout(20), store.writing(scope) as rows:
        await people.ensure_project(rows, "born", now=now)
        assert len(await people.project_names(rows)) in {2, 7}


async def test_two_that_make_the_same_thing_are_told_so(store: Store, now: datetime) -> None:
    scope = Scope((await tenant_scope(store, "one", now)).tenant)

    with pytest.raises(StoreConflictError):
        async with store.writing(scope) as rows:
            await rows.insert(projects, id=ids.new_id(now), name="default", created_at=now)


async def test_a_tenant_does_not_see_another_tenants_rows(store: Store, now: datetime) -> None:
    one, other = await tenant_scope(store, "one", now), await tenant_scope(store, "other", now)
    async with store.writing(one) as rows:
        await gateways.add(rows, ids.new_id(now), name="dc1", device_key="", serial=1, until=now, now=now)

    async with store.reading(other) as rows:
        assert await gateways.every(rows) == []
        assert await gateways.find(rows, "dc1") is None


@pytest.mark.parametrize(
    "statement",
    [
        select(clusters),
        select(projects).where(projects.c.name == "x"),
        update(clusters).values(name="x"),
        select(clusters, gateways_table).where(clusters.c.gateway_id == gateways_table.c.id),
        select(tenants),
    ],
)
async def test_a_statement_that_forgets_the_tenant_is_not_run(store: Store, now: datetime, statement: object) -> None:
    scope = await tenant_scope(store, "one", now)

    async with store.reading(scope) as rows:
        with pytest.raises(UnscopedStatementError):
            await rows.run(statement)  # type: ignore[arg-type]


async def test_a_statement_that_names_another_tenant_is_not_run(store: Store, now: datetime) -> None:
    one, other = await tenant_scope(store, "one", now), await tenant_scope(store, "other", now)
    foreign = projects.c.tenant_id == other.tenant

    async with store.writing(one) as rows:
        for statement in (
            select(projects).where(foreign),
            select(projects).where(or_(projects.c.tenant_id == one.tenant, foreign)),
            insert(projects).values(id=ids.new_id(now), tenant_id=other.tenant, name="x", created_at=now),
        ):
            with pytest.raises(UnscopedStatementError):
                await rows.run(statement)
