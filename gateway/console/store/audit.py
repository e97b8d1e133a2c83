"""This file is how the audit log is remembered: rows are added and read, never changed and never removed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, or_

from gateway.console.errors import AuditEntryUnknownError
from gateway.console.records import AuditEntry, AuditOutcome
from gateway.console.store.scope import Within
from gateway.console.store.tables import audit as table
from gateway.kit import ids


@dataclass(frozen=True, slots=True)
class Sought:
    """Which entries somebody wants to see; None lets all through. `before` is an entry: only older ones are shown."""

    gateway: str | None = None
    action: str | None = None
    before: UUID | None = None


async def append(rows: Within, entry: AuditEntry) -> None:
    """Add an entry."""
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
    )


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
