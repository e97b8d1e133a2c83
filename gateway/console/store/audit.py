"""This file is how the audit log is remembered: rows are added and read, never changed and never removed.

Each row carries a line of the tenant's own hash chain, numbered from 1, which says all that the row says. Rows from
before there was a chain have none; how many there are is the chain's first line.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, func, or_

from gateway.audit import lines as auditlines
from gateway.audit.lines import Act, End, Fact
from gateway.console.errors import AuditEntryUnknownError
from gateway.console.records import AuditEntry, AuditOutcome
from gateway.console.store.scope import Within
from gateway.console.store.tables import audit as table
from gateway.console.store.tables import tenants
from gateway.kit import ids

CHAIN_BEGAN = "audit.chain-began"
LOG = "the audit log"
"""Who is said to act where the log speaks of itself."""
OWN = ("entry", "actor", "gateway", "target")
"""What a line says of its row; a fact of one of these names is called otherwise in the line."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Which entries somebody wants to see; None lets all through. `before` is an entry: only older ones are shown."""

    gateway: str | None = None
    action: str | None = None
    before: UUID | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A line of the chain; `differs` when its row says something else."""

    number: int
    line: str
    differs: bool


async def append(rows: Within, entry: AuditEntry) -> None:
    """Add an entry to the end of the tenant's chain."""
    # One at a time: two that follow on the same line would not be a chain.
    await rows.run(rows.select(tenants, tenants.c.id).with_for_update())
    before = await end(rows)
    if not before.number and (earlier := await _unchained(rows)):
        began = AuditEntry(
            ids.new_id(entry.at), entry.at, LOG, CHAIN_BEGAN, None, None, AuditOutcome.ENDED, {"earlier": earlier}
        )
        before = await _insert(rows, began, before)
    await _insert(rows, entry, before)


async def end(rows: Within) -> End:
    """Return where the tenant's chain stands."""
    found = rows.select(table, table.c.number, table.c.line).where(table.c.number.is_not(None))
    last = await rows.one(found.order_by(table.c.number.desc()).limit(1))
    return End() if last is None else End(last.number, auditlines.digest(last.line.encode()))


async def links(rows: Within, *, after: int, limit: int) -> list[Link]:
    """Return lines of the chain, those behind the number `after`."""
    found = rows.select(table).where(table.c.number > after).order_by(table.c.number).limit(limit)
    return [_link(row) for row in await rows.all(found)]


async def note(
    rows: Within,
    action: str,
    *,
    actor: str,
    now: datetime,
    gateway: str | None = None,
    outcome: AuditOutcome = AuditOutcome.ENDED,
    **facts: str | float | None,
) -> None:
    """Add an entry of something that is done, or refused, in this very transaction."""
    entry = AuditEntry(ids.new_id(now), now, actor, action, gateway, None, outcome, dict(facts))
    await append(rows, entry)


async def newest(rows: Within, sought: Sought, *, limit: int) -> list[AuditEntry]:
    """Return entries, the newest first. Raises AuditEntryUnknownError when `before` names none of the scope's."""
    found = rows.select(table)
    if sought.gateway is not None:
        found = found.where(table.c.gateway == sought.gateway)
    if sought.action is not None:
        found = found.where(table.c.action == sought.action)
    if sought.before is not None:
        last = await _get(rows, sought.before)
        found = found.where(or_(table.c.at < last.at, and_(table.c.at == last.at, table.c.id < last.id)))
    ordered = found.order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)
    return [_entry(row) for row in await rows.all(ordered)]


async def _get(rows: Within, entry: UUID) -> Row[Any]:
    row = await rows.one(rows.select(table).where(table.c.id == entry))
    if row is None:
        raise AuditEntryUnknownError(f"there is no audit entry {entry}: list from the newest one again")
    return row


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        gateway=row.gateway,
        target=row.target,
        outcome=AuditOutcome(row.outcome),
        facts=dict(row.facts),
    )


async def _insert(rows: Within, entry: AuditEntry, before: End) -> End:
    line = _line(entry, before)
    await rows.insert(
        table,
        id=entry.id,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        gateway=entry.gateway,
        target=entry.target,
        outcome=entry.outcome.value,
        facts=entry.facts,
        number=before.number + 1,
        line=line,
    )
    return End(before.number + 1, auditlines.digest(line.encode()))


async def _unchained(rows: Within) -> int:
    counted = await rows.one(rows.select(table, func.count()).where(table.c.number.is_(None)))
    return 0 if counted is None else int(counted[0])


def _line(entry: AuditEntry, before: End) -> str:
    facts: dict[str, Fact] = {f"said-{name}" if name in OWN else name: fact for name, fact in entry.facts.items()}
    facts |= {"entry": str(entry.id), "actor": entry.actor, "gateway": entry.gateway, "target": entry.target}
    act = Act(entry.action, entry.outcome.value, facts)
    return auditlines.chained(before, [act], at=entry.at.astimezone(UTC).isoformat()).decode().removesuffix("\n")


def _link(row: Row[Any]) -> Link:
    said = auditlines.parsed(row.line.encode())
    number = row.number
    differs = said is None or _line(_entry(row), End(number - 1, said.previous)) != row.line
    return Link(number, row.line, differs)
