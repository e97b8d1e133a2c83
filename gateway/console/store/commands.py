"""This file is how commands are remembered: the row is the outbox, and later the history."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, func, not_, or_

from gateway.console import lane
from gateway.console.errors import CommandUnknownError
from gateway.console.records import CommandState, Heading, StoredCommand
from gateway.console.store.reading import RecordUnreadableError, read, read_problem
from gateway.console.store.scope import Within
from gateway.console.store.tables import commands as table
from gateway.contract.commands import Command
from gateway.contract.inventory import Inventory
from gateway.contract.plans import Plan
from gateway.contract.problems import Problem

APPLY = "cluster.apply"
OPEN = [state.value for state in CommandState if not state.has_ended]


async def add(rows: Within, stored: StoredCommand) -> None:
    """Remember a new command; it is sent because it is here."""
    task = stored.command.task
    await rows.insert(
        table,
        id=stored.id,
        project_id=stored.project,
        gateway_id=stored.gateway,
        gateway_name=stored.gateway_name,
        seq=stored.seq,
        cluster_id=stored.cluster,
        cluster_name=stored.cluster_name,
        resource=task.resource,
        kind=task.kind,
        body=stored.command.model_dump(mode="json"),
        author=stored.command.author,
        created_at=stored.command.created_at,
        **_progress(stored),
    )


async def heading(rows: Within, command: UUID, *, gateway: UUID) -> Heading | None:
    """Return what a command that was given to `gateway` concerns; None when it was given no such command."""
    row = await rows.one(rows.select(table).where(table.c.id == command, table.c.gateway_id == gateway))
    return None if row is None else _heading(row)


async def find(rows: Within, command: UUID) -> StoredCommand | None:
    """Return a command, if there is one of that id."""
    row = await rows.one(rows.select(table).where(table.c.id == command))
    return None if row is None else _command(row)


async def get(rows: Within, command: UUID) -> StoredCommand:
    """Return a command. Raises CommandUnknownError."""
    found = await find(rows, command)
    if found is None:
        raise CommandUnknownError(f"there is no command {command}: check its id", command=str(command))
    return found


async def open_for_cluster(rows: Within, cluster: UUID) -> list[StoredCommand]:
    """Return the commands for a cluster that have not ended, in order."""
    found = rows.select(table).where(table.c.cluster_id == cluster, table.c.state.in_(OPEN)).order_by(table.c.seq)
    return [_command(row) for row in await rows.all(found)]


async def placing(rows: Within, cluster: UUID, *, also_refused: bool) -> list[StoredCommand]:
    """Return the first and the last command by which a gateway may have placed machines of a cluster, if any.

    Those that were never sent do not count; those that ended without having changed anything do if `also_refused`.
    """
    found = rows.select(table).where(table.c.cluster_id == cluster, table.c.kind == APPLY, table.c.sent_at.is_not(None))
    if not also_refused:
        idle = table.c.state.in_([CommandState.REJECTED.value, CommandState.REFUSED.value])
        unbegun = and_(table.c.state == CommandState.CANCELLED.value, table.c.began_at.is_(None))
        found = found.where(not_(or_(idle, unbegun)))
    ends = [await rows.one(found.order_by(order).limit(1)) for order in (table.c.seq, table.c.seq.desc())]
    return [_command(row) for row in ends if row is not None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits to be delivered, in order, and what cannot be, for it cannot be read."""

    readable: list[StoredCommand]
    unreadable: list[Heading]


async def waiting(rows: Within, gateway: UUID) -> list[lane.Waiting]:
    """Return what is to be delivered to a gateway, in order, without what it says."""
    found = rows.select(table, table.c.id, table.c.resource).where(
        table.c.gateway_id == gateway, table.c.state == CommandState.PENDING.value
    )
    return [lane.Waiting(row.id, row.resource) for row in await rows.all(found.order_by(table.c.seq))]


async def unfinished(rows: Within, gateway: UUID) -> int:
    """Return how many commands a gateway has accepted that have not ended."""
    at_gateway = [CommandState.ACCEPTED.value, CommandState.RUNNING.value]
    found = rows.select(table, func.count().label("many"))
    row = await rows.one(found.where(table.c.gateway_id == gateway, table.c.state.in_(at_gateway)))
    return 0 if row is None else int(row.many)


async def pending(rows: Within, gateway: UUID, *, among: Collection[UUID]) -> Waiting:
    """Return those of some commands that are still to be delivered to a gateway, in order."""
    found = rows.select(table).where(
        table.c.gateway_id == gateway, table.c.state == CommandState.PENDING.value, table.c.id.in_(among)
    )
    waiting = Waiting([], [])
    for row in await rows.all(found.order_by(table.c.seq)):
        try:
            waiting.readable.append(_command(row))
        except RecordUnreadableError:
            waiting.unreadable.append(_heading(row))
    return waiting


async def sent(rows: Within, ids: Collection[UUID], *, now: datetime) -> None:
    """Note that commands are about to be sent for the first time."""
    await rows.run(rows.update(table).where(table.c.id.in_(ids), table.c.sent_at.is_(None)).values(sent_at=now))


async def open_on(rows: Within, gateway: UUID) -> list[Heading]:
    """Return what the commands of a gateway that have not ended concern, in order."""
    columns = (table.c.id, table.c.project_id, table.c.cluster_id, table.c.cluster_name)
    found = rows.select(table, *columns).where(table.c.gateway_id == gateway, table.c.state.in_(OPEN))
    return [_heading(row) for row in await rows.all(found.order_by(table.c.seq))]


async def taken_on(rows: Within, gateway: UUID) -> list[Heading]:
    """Return what the commands concern that a gateway has taken, and that have not ended, in order."""
    taken = [CommandState.ACCEPTED.value, CommandState.RUNNING.value]
    columns = (table.c.id, table.c.project_id, table.c.cluster_id, table.c.cluster_name)
    found = rows.select(table, *columns).where(table.c.gateway_id == gateway, table.c.state.in_(taken))
    return [_heading(row) for row in await rows.all(found.order_by(table.c.seq))]


async def ended_among(rows: Within, gateway: UUID, ids: Collection[UUID]) -> list[UUID]:
    """Return which of these commands of a gateway have ended."""
    found = rows.select(table, table.c.id).where(table.c.gateway_id == gateway, table.c.id.in_(ids))
    return [row.id for row in await rows.all(found.where(table.c.state.not_in(OPEN)).order_by(table.c.seq))]


async def known_among(rows: Within, gateway: UUID, ids: Collection[UUID]) -> set[UUID]:
    """Return which of these are commands of a gateway, ended or not."""
    found = rows.select(table, table.c.id).where(table.c.gateway_id == gateway, table.c.id.in_(ids))
    return {row.id for row in await rows.all(found)}


async def end(rows: Within, command: UUID, state: CommandState, *, problem: Problem | None, now: datetime) -> None:
    """Note how a command ended, whatever it said."""
    document = problem.model_dump(mode="json") if problem else None
    ended = rows.update(table).where(table.c.id == command, table.c.state.in_(OPEN))
    await rows.run(ended.values(state=state.value, problem=document, ended_at=now))


async def save(rows: Within, stored: StoredCommand) -> None:
    """Remember how far a command has come."""
    await rows.run(rows.update(table).where(table.c.id == stored.id).values(**_progress(stored)))


def _progress(stored: StoredCommand) -> dict[str, Any]:
    return {
        "state": stored.state.value,
        "problem": stored.problem.model_dump(mode="json") if stored.problem else None,
        "inventory": stored.inventory.model_dump(mode="json") if stored.inventory else None,
        "plan": stored.plan.model_dump(mode="json") if stored.plan else None,
        "sent_at": stored.sent_at,
        "accepted_at": stored.accepted_at,
        "began_at": stored.began_at,
        "ended_at": stored.ended_at,
    }


def _heading(row: Row[Any]) -> Heading:
    return Heading(row.id, row.project_id, row.cluster_id, row.cluster_name)


def _command(row: Row[Any]) -> StoredCommand:
    what = f"the command {row.id}"
    return StoredCommand(
        id=row.id,
        project=row.project_id,
        gateway=row.gateway_id,
        gateway_name=row.gateway_name,
        seq=row.seq,
        cluster=row.cluster_id,
        cluster_name=row.cluster_name,
        command=read(Command, row.body, what=what),
        state=CommandState(row.state),
        problem=read_problem(row.problem, what=what),
        inventory=read(Inventory, row.inventory, what=what) if row.inventory else None,
        plan=read(Plan, row.plan, what=what) if row.plan else None,
        sent_at=row.sent_at,
        accepted_at=row.accepted_at,
        began_at=row.began_at,
        ended_at=row.ended_at,
    )
