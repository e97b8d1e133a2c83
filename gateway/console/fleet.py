"""This file is what people wish of the fleet: each wish is one transaction, remembered before it is sent.

A command that has certainly reached nobody (`sent_at` is not set) is taken back when a later wish replaces it.
Every other command may be in an appliance's journal, whatever the console has heard, and is left to end there.
"""

from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from gateway.console import projection, removal, steering
from gateway.console.bells import Bells
from gateway.console.errors import (
    ClusterBeingDeletedError,
    ClusterCannotMoveError,
    CommandSupersededError,
    CommandTooLargeError,
)
from gateway.console.projection import Picture
from gateway.console.records import Cluster, CommandState, ForgottenCluster, Gateway, Project, StoredCommand
from gateway.console.store import clusters, commands, events, gateways, people
from gateway.console.store.database import Store
from gateway.console.store.events import Occurrence
from gateway.console.store.scope import Scope, Within
from gateway.contract.clusters import ClusterPhase, ClusterSpec
from gateway.contract.commands import (
    ApplyCluster,
    CancelCommand,
    Command,
    DeleteCluster,
    PlanCluster,
    ReadInventory,
    Task,
)
from gateway.contract.events import CommandEnded, CommandOutcome
from gateway.contract.messages import MESSAGE_LIMIT
from gateway.contract.problems import problem_of
from gateway.kit import ids
from gateway.kit.clock import Clock

log = structlog.get_logger(__name__)

ENVELOPE = 1024
"""Bytes of a deliver message around its command, generously."""

PLACE = ("account", "datacenter", "folder")
"""Where a cluster's machines are found again; told otherwise, the gateway would look elsewhere and leave them."""


@dataclass(frozen=True, slots=True)
class Wished:
    """What became of a wish: the command that will bring it about, and the cluster, unless it is gone at once."""

    command: StoredCommand
    cluster: Cluster | None


class Fleet:
    """The clusters and gateways of every tenant, as far as people change them."""

    def __init__(self, store: Store, bells: Bells, *, clock: Clock) -> None:
        self._store = store
        self._bells = bells
        self._clock = clock

    async def apply_cluster(
        self, scope: Scope, project: Project, spec: ClusterSpec, *, author: str, plan: str | None = None
    ) -> Wished:
        """Create a cluster or change it; bound to the plan of that hash, if one is named.

        Raises GatewayUnknownError, ClusterBeingDeletedError, ClusterCannotMoveError or CommandTooLargeError.
        """
        async with self._store.writing(scope) as rows:
            gateway = await _held(rows, spec.gateway)
            found = await clusters.find(rows, spec.name)
            cluster = self._new(project, gateway, spec) if found is None else await _may_change(rows, found, spec)
            await self._withdraw_unsent(rows, gateway, cluster)
            task = ApplyCluster(cluster_id=cluster.id, spec=spec, plan=plan)
            command = await self._remember(rows, gateway, task, author=author, cluster=cluster)
            cluster = replace(
                cluster, spec=spec, phase=ClusterPhase.PENDING, last_command=command.id, updated_at=self._clock.now()
            )
            await (clusters.add if found is None else clusters.save)(rows, cluster)
        log.info("cluster wished", **_about(Wished(command, cluster), spec.name, author))
        self._ring(gateway)
        return Wished(command, cluster)

    async def plan_apply(self, scope: Scope, project: Project, spec: ClusterSpec, *, author: str) -> StoredCommand:
        """Have a gateway say what an apply would do. Nothing is remembered but that it was asked.

        Raises as `apply_cluster` does.
        """
        async with self._store.writing(scope) as rows:
            gateway = await _held(rows, spec.gateway)
            found = await clusters.find(rows, spec.name)
            cluster = self._new(project, gateway, spec) if found is None else await _may_change(rows, found, spec)
            task = PlanCluster(of=ApplyCluster(cluster_id=cluster.id, spec=spec))
            command = await self._remember(rows, gateway, task, author=author, cluster=cluster)
        self._ring(gateway)
        return command

    async def plan_delete(self, scope: Scope, name: str, *, author: str) -> StoredCommand:
        """Have a gateway say what a delete would do. Raises ClusterUnknownError."""
        async with self._store.writing(scope) as rows:
            cluster = await clusters.named(rows, name)
            gateway = await gateways.held(rows, cluster.gateway)
            spec = await _where_sent(rows, cluster)
            task = PlanCluster(of=DeleteCluster(cluster_id=cluster.id, name=name, cloud=spec.cloud))
            command = await self._remember(rows, gateway, task, author=author, cluster=cluster)
        self._ring(gateway)
        return command

    async def delete_cluster(self, scope: Scope, name: str, *, author: str, plan: str | None = None) -> Wished:
        """Remove a cluster, by no other plan than the one of that hash, if one is named. Raises ClusterUnknownError.

        Asked twice, the answer is the first command, whatever plan that is bound to.

        A cluster that no appliance can have heard of is gone at once.
        """
        async with self._store.writing(scope) as rows:
            gateway = await gateways.held(rows, (await clusters.named(rows, name)).gateway)
            cluster = await clusters.named(rows, name)
            if cluster.phase is ClusterPhase.DELETING and cluster.last_command is not None:
                return Wished(await commands.get(rows, cluster.last_command), cluster)
            withdrawn = await self._withdraw_unsent(rows, gateway, cluster)
            if withdrawn and await _never_heard_of(rows, cluster):
                await clusters.remove(rows, cluster.id)
                wished = Wished(withdrawn[-1], None)
            else:
                wished = await self._delete(rows, gateway, cluster, author=author, plan=plan)
        log.info("cluster delete wished", **_about(wished, name, author))
        self._ring(gateway)
        return wished

    async def read_inventory(self, scope: Scope, gateway_name: str, account: str, *, author: str) -> StoredCommand:
        """Have a gateway read what a cloud account offers. Raises GatewayUnknownError."""
        return await self.send(scope, gateway_name, ReadInventory(account=account), author=author)

    async def send(self, scope: Scope, gateway_name: str, task: Task, *, author: str) -> StoredCommand:
        """Have a gateway carry out what concerns no cluster. Raises GatewayUnknownError."""
        async with self._store.writing(scope) as rows:
            gateway = await _held(rows, gateway_name)
            command = await self._remember(rows, gateway, task, author=author)
        self._ring(gateway)
        return command

    async def cancel(self, scope: Scope, command_id: UUID, *, author: str) -> StoredCommand:
        """Cancel a command; return it, if it had not been sent and is over now, or the command that will cancel it.

        Raises CommandUnknownError, CommandOverError or CommandOnItsWayError.
        """
        async with self._store.writing(scope) as rows:
            gateway = await gateways.held(rows, (await commands.get(rows, command_id)).gateway)
            known = await commands.get(rows, command_id)
            steering.refuse_what_cannot_be_cancelled(known)
            if known.state is CommandState.PENDING:
                command = await steering.called_off(rows, gateway, known, clock=self._clock)
            else:
                task = CancelCommand(command_id=known.id)
                command = await self._remember(rows, gateway, task, author=author)
        log.info("command cancelled", command=str(command_id), by=str(command.id), author=author)
        self._ring(gateway)
        return command

    async def remove_gateway(self, scope: Scope, name: str, *, forget: bool, author: str) -> list[ForgottenCluster]:
        """Remove a gateway; its open commands end. Return the clusters that were forgotten with it.

        Raises GatewayUnknownError, or GatewayInUseError while clusters live behind it, unless `forget`.
        """
        async with self._store.writing(scope) as rows:
            gateway = await _held(rows, name)
            if not forget:
                await removal.refuse_while_in_use(rows, gateway)
            forgotten = await removal.remove(rows, gateway, now=self._clock.now())
        names = [one.name for one in forgotten]
        log.warning("gateway removed", gateway=name, id=str(gateway.id), author=author, forgotten=names)
        self._ring(gateway)
        return forgotten

    async def project(self, scope: Scope, name: str) -> Project:
        """Return a project of the tenant. Raises ProjectUnknownError."""
        async with self._store.reading(scope) as rows:
            return await people.project(rows, name)

    async def _delete(
        self, rows: Within, gateway: Gateway, cluster: Cluster, *, author: str, plan: str | None
    ) -> Wished:
        spec = await _where_sent(rows, cluster)
        task = DeleteCluster(cluster_id=cluster.id, name=cluster.name, cloud=spec.cloud, plan=plan)
        command = await self._remember(rows, gateway, task, author=author, cluster=cluster)
        cluster = replace(
            cluster, spec=spec, phase=ClusterPhase.DELETING, last_command=command.id, updated_at=self._clock.now()
        )
        await clusters.save(rows, cluster)
        return Wished(command, cluster)

    async def _remember(
        self, rows: Within, gateway: Gateway, task: Task, *, author: str, cluster: Cluster | None = None
    ) -> StoredCommand:
        now = self._clock.now()
        command = Command(id=ids.new_id(now), task=task, author=author, created_at=now)
        _refuse_too_large(command)
        stored = StoredCommand(
            id=command.id,
            project=cluster.project if cluster else None,
            gateway=gateway.id,
            gateway_name=gateway.name,
            seq=await gateways.next_seq(rows, gateway.id),
            # A plan changes nothing of the cluster's state, and is none of its wishes.
            cluster=cluster.id if cluster and not isinstance(task, PlanCluster) else None,
            cluster_name=cluster.name if cluster else None,
            command=command,
            state=CommandState.PENDING,
            problem=None,
            inventory=None,
            sent_at=None,
            accepted_at=None,
            began_at=None,
            ended_at=None,
        )
        await commands.add(rows, stored)
        return stored

    async def _withdraw_unsent(self, rows: Within, gateway: Gateway, cluster: Cluster) -> list[StoredCommand]:
        now = self._clock.now()
        waiting = await commands.open_for_cluster(rows, cluster.id)
        problem = problem_of(CommandSupersededError("a later command took its place before it was sent"))
        withdrawn = [
            projection.withdrawn(Picture(one), problem, now=now).command for one in waiting if one.sent_at is None
        ]
        ended = CommandEnded(outcome=CommandOutcome.CANCELLED, problem=problem)
        for command in withdrawn:
            await commands.save(rows, command)
        await events.append(rows, gateway, [Occurrence(None, one.id, one, ended, now) for one in withdrawn])
        return withdrawn

    def _new(self, project: Project, gateway: Gateway, spec: ClusterSpec) -> Cluster:
        now = self._clock.now()
        return Cluster(
            id=ids.new_id(now),
            project=project.id,
            gateway=gateway.id,
            name=spec.name,
            spec=spec,
            phase=ClusterPhase.PENDING,
            settled=None,
            problem=None,
            last_command=None,
            created_at=now,
            updated_at=now,
        )

    def _ring(self, gateway: Gateway) -> None:
        self._bells.ring(gateway.id)
        self._bells.ring(gateway.tenant)


def _about(wished: Wished, cluster: str, author: str) -> dict[str, str]:
    command = wished.command
    return {"cluster": cluster, "gateway": command.gateway_name, "command": str(command.id), "author": author}


async def _held(rows: Within, name: str) -> Gateway:
    return await gateways.held(rows, (await gateways.named(rows, name)).id)


async def _may_change(rows: Within, cluster: Cluster, spec: ClusterSpec) -> Cluster:
    if cluster.phase is ClusterPhase.DELETING:
        raise ClusterBeingDeletedError(
            f"cluster {cluster.name!r} is being deleted: wait until it is gone, or use another name",
            cluster=cluster.name,
        )
    if cluster.spec.gateway != spec.gateway:
        raise _cannot_move(cluster, "gateway", cluster.spec.gateway)
    for placed in (await _placed(rows, cluster))[:1]:
        for part in PLACE:
            if getattr(placed.cloud, part) != getattr(spec.cloud, part):
                raise _cannot_move(cluster, part, getattr(placed.cloud, part))
    return cluster


async def _placed(rows: Within, cluster: Cluster) -> list[ClusterSpec]:
    """Return the first and the last wish by which there may be machines of the cluster; none if there cannot be."""
    kept = cluster.settled is not None or await clusters.count_machines(rows, cluster.id) > 0
    sent = await commands.placing(rows, cluster.id, also_refused=False)
    if not sent and kept:
        sent = await commands.placing(rows, cluster.id, also_refused=True)
    return [one.command.task.spec for one in sent if isinstance(one.command.task, ApplyCluster)]


async def _where_sent(rows: Within, cluster: Cluster) -> ClusterSpec:
    """Return where to look for a cluster's machines: a wish that was taken back unsent has placed nothing."""
    sent = await _placed(rows, cluster)
    return sent[-1] if sent else cluster.spec


def _cannot_move(cluster: Cluster, part: str, where: str | None) -> ClusterCannotMoveError:
    return ClusterCannotMoveError(
        f"cluster {cluster.name!r} was made with {part} {where or 'left out'} and cannot move: "
        "leave that as it was, or delete the cluster and make a new one",
        cluster=cluster.name,
        part=part,
    )


async def _never_heard_of(rows: Within, cluster: Cluster) -> bool:
    if cluster.settled is not None or await clusters.count_machines(rows, cluster.id):
        return False
    return not await commands.open_for_cluster(rows, cluster.id)


def _refuse_too_large(command: Command) -> None:
    size = len(command.model_dump_json().encode())
    if size > MESSAGE_LIMIT - ENVELOPE:
        raise CommandTooLargeError(
            f"the wish takes {size} bytes and at most {MESSAGE_LIMIT - ENVELOPE} can be relayed: "
            "name fewer SSH keys or pools",
            size=size,
        )
