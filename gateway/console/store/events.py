"""This file is how events are remembered: one row each, at a position that watchers resume from."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Row

from gateway.console.records import Gateway, Heading, StoredCommand, StoredEvent
from gateway.console.store.scope import Within
from gateway.console.store.tables import events as table
from gateway.console.store.tables import tenants
from gateway.contract.events import EventBody

log = structlog.get_logger(__name__)
body_of: TypeAdapter[EventBody] = TypeAdapter(EventBody)


@dataclass(frozen=True, slots=True)
class Watched:
    """Which events somebody wants to see; None lets all through."""

    cluster: str | None = None
    command: UUID | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An event before it has a position. `command` is None when the console does not know the command."""

    number: int | None
    command_id: UUID
    command: StoredCommand | Heading | None
    body: EventBody
    at: datetime


async def append(rows: Within, gateway: Gateway, occurrences: list[Occurrence]) -> None:
    """Remember events in their order.

    The tenant's row is held until the transaction ends: positions become visible in their order.
    """
    if not occurrences:
        return
    await rows.run(rows.update(tenants).values(last_position=tenants.c.last_position + len(occurrences)))
    last = await last_position(rows)
    for position, one in enumerate(occurrences, start=last - len(occurrences) + 1):
        await _insert(rows, gateway, one, position=position)


async def last_position(rows: Within) -> int:
    """Return the position of the tenant's last event; 0 when there is none."""
    row = await rows.one(rows.select(tenants, tenants.c.last_position))
    return 0 if row is None else int(row.last_position)


async def after(rows: Within, position: int, *, watched: Watched, limit: int) -> list[StoredEvent]:
    """Return the next events after a position, in order."""
    found = rows.select(table).where(table.c.position > position)
    if watched.cluster is not None:
        found = found.where(table.c.cluster_name == watched.cluster)
    if watched.command is not None:
        found = found.where(table.c.command_id == watched.command)
    return [_event(row) for row in await rows.all(found.order_by(table.c.position).limit(limit))]


async def _insert(rows: Within, gateway: Gateway, one: Occurrence, *, position: int) -> None:
    command = one.command
    await rows.insert(
        table,
        position=position,
        project_id=command.project if command else None,
        gateway_id=gateway.id,
        gateway_name=gateway.name,
        number=one.number,
        command_id=one.command_id,
        cluster_id=command.cluster if command else None,
        cluster_name=command.cluster_name if command else None,
        type=one.body.type,
        body=one.body.model_dump(mode="json"),
        at=one.at,
    )


def _body(row: Row[Any]) -> EventBody | None:
    try:
        return body_of.validate_python(row.body)
    except ValidationError:
        # Left out of what watchers see: it must not hold up what came after it.
        log.exception("an event cannot be read any more", position=row.position)
        return None


def _event(row: Row[Any]) -> StoredEvent:
    return StoredEvent(
        position=row.position,
        project=row.project_id,
        gateway_name=row.gateway_name,
        number=row.number,
        command=row.command_id,
        cluster_name=row.cluster_name,
        body=_body(row),
        at=row.at,
    )
