"""This file is how a command's picture is read from the store, and what changed in it written back."""

from uuid import UUID

from gateway.console import projection
from gateway.console.projection import Changed, Picture
from gateway.console.records import StoredCommand
from gateway.console.store import clusters, commands
from gateway.console.store.scope import Within
from gateway.kit.clock import Clock


async def read(rows: Within, command_id: UUID, *, gateway: UUID) -> Picture | None:
    """Return the picture of a command that was given to `gateway`; None when it was given no such command."""
    command = await commands.find(rows, command_id)
    if command is None or command.gateway != gateway:
        return None
    if command.cluster is None:
        return Picture(command)
    return Picture(
        command,
        await clusters.get(rows, command.cluster),
        machines=await clusters.count_machines(rows, command.cluster),
        earlier=await _earlier(rows, command),
    )


async def write(rows: Within, before: Picture, changed: Changed, *, clock: Clock) -> None:
    """Remember what changed between `before` and `changed`."""
    if changed.command != before.command:
        await commands.save(rows, changed.command)
    if before.cluster is None:
        return
    if changed.cluster is None:
        await clusters.remove(rows, before.cluster.id)
    elif changed.cluster != before.cluster:
        await clusters.save(rows, changed.cluster)
    if changed.cluster is not None and changed.machine is not None:
        await _machine(rows, changed, clock)
    if changed.cluster is not None and changed.reached is not None:
        await clusters.drop_machines_beside(rows, changed.cluster, projection.places(changed.reached))


async def _machine(rows: Within, changed: Changed, clock: Clock) -> None:
    if changed.cluster is None or changed.machine is None:
        return
    if projection.is_gone(changed.machine):
        await clusters.drop_machine(rows, changed.cluster, changed.machine)
    else:
        await clusters.keep_machine(rows, changed.cluster, changed.machine, now=clock.now())


async def _earlier(rows: Within, command: StoredCommand) -> StoredCommand | None:
    if command.cluster is None:
        return None
    others = [one for one in await commands.open_for_cluster(rows, command.cluster) if one.seq < command.seq]
    return others[-1] if others else None
