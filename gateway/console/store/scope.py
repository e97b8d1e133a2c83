"""This file is the wall between tenants: a scope, the statements built within it, and the guard that checks them.

`Within` builds every statement from its scope, so that nobody has to remember the tenant. Should somebody
write a statement by hand all the same, the guard looks at it before it is run: each table in it must be
compared with the very tenant the connection was opened for, or the statement is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, CursorResult, Executable, Insert, Row, Select, Table, Update, event
from sqlalchemy import delete as sql_delete
from sqlalchemy import insert as sql_insert
from sqlalchemy import select as sql_select
from sqlalchemy import update as sql_update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.dml import Delete
from sqlalchemy.sql.elements import BinaryExpression, BindParameter

from gateway.console.store import tables
from gateway.console.store.finishing import finished
from gateway.kit.errors import GatewayError


class UnscopedStatementError(GatewayError):
    """A statement does not name its tenant; it was not run."""

    code = "console.unscoped_statement"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows: those of one tenant, and of one project of it where a project is named."""

    tenant: UUID
    project: UUID | None = None


class Everybody:
    """One transaction that sees every tenant; for the doors at which the tenant is not known yet."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def run(self, statement: Executable) -> CursorResult[Any]:
        """Run a statement and return its result."""
        return await finished(self._connection.execute(statement))

    async def scalar(self, statement: Executable) -> Any:  # noqa: ANN401 - whatever the column holds
        """Return the first column of the first row, or None."""
        return (await self.run(statement)).scalar()


class Within:
    """One transaction within one scope. Every statement is bound to it; foreign rows do not exist here."""

    def __init__(self, connection: AsyncConnection, scope: Scope) -> None:
        self.scope = scope
        self._connection = connection

    def select(self, table: Table, *columns: ColumnElement[Any]) -> Select[Any]:
        """Return a select of `table`'s columns (or those named) within the scope."""
        return sql_select(*(columns or tuple(table.c))).select_from(table).where(*self._bounds(table))

    def update(self, table: Table) -> Update:
        """Return an update of `table` within the scope."""
        return sql_update(table).where(*self._bounds(table))

    def delete(self, table: Table) -> Delete:
        """Return a delete from `table` within the scope."""
        return sql_delete(table).where(*self._bounds(table))

    async def insert(self, table: Table, **values: object) -> None:
        """Add one row that belongs to the scope."""
        owner: dict[str, object] = {"tenant_id": self.scope.tenant}
        if self.scope.project is not None and "project_id" in table.c:
            owner["project_id"] = self.scope.project
        await self.run(sql_insert(table).values(**(values | owner)))

    async def run(self, statement: Executable) -> CursorResult[Any]:
        """Run a statement and return its result."""
        return await finished(self._connection.execute(statement))

    async def one(self, statement: Executable) -> Row[Any] | None:
        """Return the only row, or None."""
        return (await self.run(statement)).one_or_none()

    async def all(self, statement: Executable) -> list[Row[Any]]:
        """Return every row."""
        return list((await self.run(statement)).all())

    def _bounds(self, table: Table) -> Iterator[ColumnElement[bool]]:
        yield _tenant_column(table) == self.scope.tenant
        if self.scope.project is not None and "project_id" in table.c:
            yield table.c.project_id == self.scope.project


def _tenant_column(table: Table) -> ColumnElement[Any]:
    return table.c.id if table is tables.tenants else table.c.tenant_id


def guard(engine: AsyncEngine) -> None:
    """Have every statement of `engine` checked; the connection's options say for whom it speaks.

    `tenant` is the tenant's id. `unscoped` is a sentence that says why no tenant can be named yet; it is for the
    few doors through which one learns the tenant.
    """

    def check(
        _connection: Connection, statement: object, _many: object, _params: object, options: dict[str, Any]
    ) -> None:
        if isinstance(statement, Select | Insert | Update | Delete) and not options.get("unscoped"):
            _refuse_unless_bound(statement, options.get("tenant"))

    event.listen(engine.sync_engine, "before_execute", check)


def _refuse_unless_bound(statement: Select[Any] | Insert | Update | Delete, tenant: UUID | None) -> None:
    touched = {
        part for part in visitors.iterate(statement) if isinstance(part, Table) and part.metadata is tables.schema
    }
    if isinstance(statement, Insert):
        bound = touched if _inserted_tenant(statement) == tenant else set()
    else:
        bound = {table for table in touched if _names_tenant(statement, table, tenant)}
    if tenant is None or touched - bound:
        names = ", ".join(sorted(table.name for table in touched - bound))
        raise UnscopedStatementError(f"a statement on {names} does not name its tenant: build it with Within")


def _inserted_tenant(statement: Insert) -> object:
    column = "id" if statement.table is tables.tenants else "tenant_id"
    values = statement.compile().params
    return values.get(column)


def _names_tenant(statement: Select[Any] | Update | Delete, table: Table, tenant: UUID | None) -> bool:
    # Only the top-level AND counts: a comparison below an OR binds nothing.
    return any(_is_bound(clause, table, tenant) for clause in _conjunction(statement.whereclause))


def _conjunction(clause: ColumnElement[Any] | None) -> Iterator[ColumnElement[Any]]:
    if clause is None:
        return
    if getattr(clause, "operator", None) is operators.and_:
        for part in clause.get_children():
            yield from _conjunction(part)  # type: ignore[arg-type]
    else:
        yield clause


def _is_bound(clause: ColumnElement[Any], table: Table, tenant: UUID | None) -> bool:
    if not isinstance(clause, BinaryExpression) or clause.operator is not operators.eq:
        return False
    left, right = clause.left, clause.right
    named = getattr(left, "table", None) is table and getattr(left, "key", None) == _tenant_column(table).key
    return named and isinstance(right, BindParameter) and right.value == tenant
