"""This file is what a command will do to a cluster's machines, decided before anything is done. It is pure.

A plan is made from the wish and from what the cloud shows, never from what was planned before: so the same wish
sent again, or an attempt that was cut, plans only what is still missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.clouds.port import CloudMachine, Owner
from gateway.contract.clusters import ClusterSpec, NodePool
from gateway.kit import ids
from gateway.kit.errors import GatewayError, Remedy


class CannotChangeError(GatewayError):
    """The wish changes something that cannot be changed on machines that are there."""

    code = "plan.cannot_change"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class WantedMachine:
    """A machine that shall be there. `found` is what the cloud shows of it already."""

    owner: Owner
    instance_uuid: UUID
    cpus: int
    memory_mib: int
    found: CloudMachine | None

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.owner.machine_name

    @property
    def must_be_cloned(self) -> bool:
        """A machine that has run was whole; one that never ran may be a clone that was cut."""
        return self.found is None or not self.found.powered_on


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Which machines shall be there, and which are too many."""

    wanted: tuple[WantedMachine, ...]
    surplus: tuple[CloudMachine, ...]

    @property
    def is_up(self) -> bool:
        """Whether every wanted machine is there and powered on."""
        return not any(machine.must_be_cloned for machine in self.wanted)


def apply_cluster(cluster: UUID, spec: ClusterSpec, found: Sequence[CloudMachine]) -> ClusterPlan:
    """Return the plan that brings the cluster to `spec`. Raises CannotChangeError.

    `found` are the cluster's machines as the cloud shows them. Surplus machines come highest number first.
    """
    by_uuid = {machine.instance_uuid: machine for machine in found}
    wanted = tuple(
        _wanted(_owner(cluster, spec.name, pool, ordinal=ordinal), pool, by_uuid)
        for pool in spec.pools
        for ordinal in range(pool.count)
    )
    for machine in wanted:
        _check_size(machine)
    kept = {machine.instance_uuid for machine in wanted}
    surplus = [machine for machine in found if machine.instance_uuid not in kept]
    return ClusterPlan(wanted, tuple(sorted(surplus, key=_last_first)))


def delete_cluster(found: Sequence[CloudMachine]) -> ClusterPlan:
    """Return the plan that removes every machine of a cluster."""
    return ClusterPlan((), tuple(sorted(found, key=_last_first)))


def _owner(cluster: UUID, name: str, pool: NodePool, *, ordinal: int) -> Owner:
    return Owner(cluster=cluster, cluster_name=name, pool=pool.name, role=pool.role, ordinal=ordinal)


def _wanted(owner: Owner, pool: NodePool, found: dict[UUID, CloudMachine]) -> WantedMachine:
    instance = ids.machine_uuid(owner.cluster, pool.name, owner.ordinal)
    return WantedMachine(owner, instance, pool.cpus, pool.memory_mib, found.get(instance))


def _check_size(machine: WantedMachine) -> None:
    found = machine.found
    if found is None:
        return
    for what, there, wished in (
        ("cpus", found.cpus, machine.cpus),
        ("memory_mib", found.memory_mib, machine.memory_mib),
    ):
        if there != wished:
            raise CannotChangeError(
                f"machine {machine.name} has {what} {there}, the cluster file wishes {wished}: the size of a machine "
                "that is there is not changed; make a pool of another name with the new size",
                machine=machine.name,
            )


def _last_first(machine: CloudMachine) -> tuple[str, int]:
    return machine.owner.pool, -machine.owner.ordinal
