"""This file is how clusters and their machines are remembered."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Row, func

from gateway.console.errors import ClusterUnknownError
from gateway.console.records import Cluster, ForgottenCluster, MachineRow, Settled
from gateway.console.store.reading import RecordUnreadableError, read, read_problem
from gateway.console.store.scope import Within
from gateway.console.store.tables import clusters as table
from gateway.console.store.tables import machines
from gateway.contract.clusters import ClusterPhase, ClusterSpec, Machine

log = structlog.get_logger(__name__)
T = TypeVar("T")


async def every(rows: Within) -> list[Cluster]:
    """Return the scope's clusters by name, those left out that cannot be read any more."""
    return _readable(_cluster, await rows.all(rows.select(table).order_by(table.c.name)))


async def find(rows: Within, name: str) -> Cluster | None:
    """Return the cluster of that name, if any."""
    row = await rows.one(rows.select(table).where(table.c.name == name))
    return None if row is None else _cluster(row)


async def named(rows: Within, name: str) -> Cluster:
    """Return the cluster of that name. Raises ClusterUnknownError."""
    found = await find(rows, name)
    if found is None:
        raise ClusterUnknownError(f"there is no cluster {name!r} in this project: check its name", cluster=name)
    return found


async def get(rows: Within, cluster: UUID) -> Cluster | None:
    """Return a cluster by id, if it is still there."""
    row = await rows.one(rows.select(table).where(table.c.id == cluster))
    return None if row is None else _cluster(row)


async def any_on(rows: Within, gateway: UUID) -> str | None:
    """Return the name of some cluster that lives behind a gateway, if there is one."""
    row = await rows.one(rows.select(table, table.c.name).where(table.c.gateway_id == gateway).limit(1))
    return None if row is None else str(row.name)


async def behind(rows: Within, gateway: UUID) -> list[ForgottenCluster]:
    """Return what is there to be forgotten behind a gateway, by name."""
    columns = (table.c.id, table.c.project_id, table.c.name)
    found = rows.select(table, *columns).where(table.c.gateway_id == gateway).order_by(table.c.name)
    return [
        ForgottenCluster(row.id, row.project_id, row.name, await _machine_names(rows, row.id))
        for row in await rows.all(found)
    ]


async def _machine_names(rows: Within, cluster: UUID) -> tuple[str, ...]:
    found = rows.select(machines, machines.c.name).where(machines.c.cluster_id == cluster).order_by(machines.c.name)
    return tuple(row.name for row in await rows.all(found))


async def add(rows: Within, cluster: Cluster) -> None:
    """Remember a new cluster."""
    await rows.insert(
        table,
        id=cluster.id,
        project_id=cluster.project,
        gateway_id=cluster.gateway,
        name=cluster.name,
        created_at=cluster.created_at,
        **_state(cluster),
    )


async def save(rows: Within, cluster: Cluster) -> None:
    """Remember a cluster's new state."""
    await rows.run(rows.update(table).where(table.c.id == cluster.id).values(**_state(cluster)))


async def remove(rows: Within, cluster: UUID) -> None:
    """Forget a cluster and its machines; events and commands stay."""
    await rows.run(rows.delete(machines).where(machines.c.cluster_id == cluster))
    await rows.run(rows.delete(table).where(table.c.id == cluster))


async def machines_of(rows: Within, cluster: UUID) -> list[Machine]:
    """Return a cluster's machines as they were last reported, by pool and number."""
    found = await rows.all(rows.select(machines).where(machines.c.cluster_id == cluster))
    return sorted(_readable(_machine, found), key=lambda one: (one.role or "", one.pool, one.ordinal))


async def every_machine(rows: Within) -> list[MachineRow]:
    """Return the machines of all the scope's clusters."""
    found = await rows.all(rows.select(machines))
    return _readable(lambda row: MachineRow(row.cluster_id, _machine(row)), found)


async def count_machines(rows: Within, cluster: UUID) -> int:
    """Return how many machines a cluster has."""
    counted = rows.select(machines, func.count().label("number")).where(machines.c.cluster_id == cluster)
    row = await rows.one(counted)
    return 0 if row is None else int(row.number)


async def keep_machine(rows: Within, cluster: Cluster, machine: Machine, *, now: datetime) -> None:
    """Remember what was last seen of a machine."""
    await drop_machine(rows, cluster, machine)
    await rows.insert(
        machines,
        project_id=cluster.project,
        cluster_id=cluster.id,
        instance_uuid=machine.instance_uuid,
        name=machine.name,
        report=machine.model_dump(mode="json"),
        seen_at=now,
    )


async def drop_machine(rows: Within, cluster: Cluster, machine: Machine) -> None:
    """Forget a machine that is gone."""
    one = rows.delete(machines).where(machines.c.cluster_id == cluster.id)
    await rows.run(one.where(machines.c.instance_uuid == machine.instance_uuid))


async def drop_machines_beside(rows: Within, cluster: Cluster, places: Collection[tuple[str, int]]) -> None:
    """Forget the machines that are at none of these places (pool and ordinal)."""
    for row in await rows.all(rows.select(machines).where(machines.c.cluster_id == cluster.id)):
        # Not parsed: what cannot be read any more must not stay for good either.
        if (row.report.get("pool"), row.report.get("ordinal")) not in places:
            one = rows.delete(machines).where(machines.c.cluster_id == cluster.id)
            await rows.run(one.where(machines.c.instance_uuid == row.instance_uuid))


def _state(cluster: Cluster) -> dict[str, Any]:
    settled = cluster.settled
    return {
        "spec": cluster.spec.model_dump(mode="json"),
        "phase": cluster.phase.value,
        "settled_spec": settled.spec.model_dump(mode="json") if settled else None,
        "settled_phase": settled.phase.value if settled else None,
        "problem": cluster.problem.model_dump(mode="json") if cluster.problem else None,
        "last_command_id": cluster.last_command,
        "updated_at": cluster.updated_at,
    }


def _readable(parse: Callable[[Row[Any]], T], found: list[Row[Any]]) -> list[T]:
    parsed = []
    for row in found:
        try:
            parsed.append(parse(row))
        except RecordUnreadableError as fault:
            log.warning("a row was left out", reason=fault.message)
    return parsed


def _machine(row: Row[Any]) -> Machine:
    return read(Machine, row.report, what=f"the machine {row.name!r}")


def _cluster(row: Row[Any]) -> Cluster:
    what = f"the cluster {row.name!r}"
    settled = (
        Settled(read(ClusterSpec, row.settled_spec, what=what), ClusterPhase(row.settled_phase))
        if row.settled_spec
        else None
    )
    return Cluster(
        id=row.id,
        project=row.project_id,
        gateway=row.gateway_id,
        name=row.name,
        spec=read(ClusterSpec, row.spec, what=what),
        phase=ClusterPhase(row.phase),
        settled=settled,
        problem=read_problem(row.problem, what=what),
        last_command=row.last_command_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
