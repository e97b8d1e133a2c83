"""This file is what a command will do to a cluster's machines, decided before anything is done. It is pure.

A plan is made from the wish and from what the cloud shows, never from what was planned before: so the same wish
sent again, or an attempt that was cut, plans only what is still missing. The steps that are told and the steps that
are carried out are the same ones, declared here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.clouds.port import CloudMachine, Owner
from gateway.commands import steps
from gateway.commands.steps import Declared
from gateway.contract.clusters import ClusterSpec, NodePool
from gateway.kit import ids
from gateway.kit.errors import GatewayError, Remedy

CHECK: Final = "check"
PREPARE: Final = "prepare"
TIDY: Final = "tidy"
CLONE: Final = "/clone"
REMOVE: Final = "/remove"
"""What the names of steps that clone, and that remove, a machine end in."""


class CannotChangeError(GatewayError):
    """The wish changes something that cannot be changed on machines that are there."""

    code = "plan.cannot_change"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier attempts of the same command have left: the names of steps that are done, and that only began."""

    done: frozenset[str] = frozenset()
    begun: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Prepared:
    """How machines were prepared last: which ones, and what was brought to them."""

    machines: frozenset[UUID] = frozenset()
    ssh_authorized_keys: tuple[str, ...] = ()
    ntp_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WantedMachine:
    """A machine that shall be there. `found` is what the cloud shows of it already.

    `clones` and `starts` tell whether it is (also: once more, to find what a cut attempt has made) cloned and started.
    """

    owner: Owner
    instance_uuid: UUID
    cpus: int
    memory_mib: int
    found: CloudMachine | None
    clones: bool = True
    starts: bool = True

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
    """Which machines shall be there, and which are too many.

    `prepares` tells whether those that shall be there are reached and prepared, `tidies` whether all else of the
    cluster goes, too; `gone` are the steps by which an earlier attempt has removed machines without saying so.
    """

    wanted: tuple[WantedMachine, ...]
    surplus: tuple[CloudMachine, ...]
    gone: tuple[str, ...] = ()
    prepares: bool = False
    tidies: bool = False


def apply_cluster(
    cluster: UUID, spec: ClusterSpec, found: Sequence[CloudMachine], *, earlier: Earlier | None = None
) -> ClusterPlan:
    """Return the plan that brings the cluster to `spec`. Raises CannotChangeError.

    `found` are the cluster's machines as the cloud shows them. Surplus machines come highest number first.
    """
    earlier = earlier or Earlier()
    by_uuid = {machine.instance_uuid: machine for machine in found}
    wanted = tuple(
        _wanted(_owner(cluster, spec.name, pool, ordinal=ordinal), pool, by_uuid, earlier)
        for pool in spec.pools
        for ordinal in range(pool.count)
    )
    for machine in wanted:
        _check_size(machine)
    kept = {machine.instance_uuid for machine in wanted}
    surplus = sorted((machine for machine in found if machine.instance_uuid not in kept), key=_last_first)
    is_up = not any(machine.must_be_cloned for machine in wanted)
    return ClusterPlan(
        wanted,
        tuple(surplus),
        gone=_gone(surplus, earlier),
        prepares=bool(wanted) and not (is_up and PREPARE in earlier.done),
    )


def delete_cluster(found: Sequence[CloudMachine], *, earlier: Earlier | None = None) -> ClusterPlan:
    """Return the plan that removes every machine of a cluster, and what else was made for it."""
    surplus = sorted(found, key=_last_first)
    return ClusterPlan((), tuple(surplus), gone=_gone(surplus, earlier or Earlier()), tidies=True)


def checking() -> Declared:
    """Return the step that looks at what is there."""
    return steps.reading(CHECK, "Look up what is there, and plan")


def cloning(machine: WantedMachine) -> Declared:
    """Return the step that clones a machine, or completes one whose clone was cut."""
    return steps.keyed(f"{machine.name}{CLONE}", f"Clone {machine.name}", key=str(machine.instance_uuid))


def starting(machine: WantedMachine) -> Declared:
    """Return the step that powers a machine on."""
    return steps.bringing(_starting(machine.owner), f"Power on {machine.name}")


def reaching(machine: WantedMachine) -> Declared:
    """Return the step that waits for a machine's address."""
    return steps.reading(f"{machine.name}/address", f"Wait for the address of {machine.name}")


def preparing(machines: int) -> Declared:
    """Return the step that makes nodes of so many machines."""
    return steps.bringing(PREPARE, f"Prepare {machines} machines: operating system and container runtime")


def removing(name: str) -> Declared:
    """Return the step that removes a machine, by its step's name."""
    return steps.bringing(name, f"Remove {name.removesuffix(REMOVE)}")


def tidying() -> Declared:
    """Return the step that removes what else was made for a cluster."""
    return steps.bringing(TIDY, "Remove the cluster's folder and keys")


def _starting(owner: Owner) -> str:
    return f"{owner.machine_name}/power-on"


def _gone(surplus: Sequence[CloudMachine], earlier: Earlier) -> tuple[str, ...]:
    known = {f"{machine.name}{REMOVE}" for machine in surplus}
    return tuple(sorted(step for step in earlier.begun if step.endswith(REMOVE) and step not in known))


def _owner(cluster: UUID, name: str, pool: NodePool, *, ordinal: int) -> Owner:
    return Owner(cluster=cluster, cluster_name=name, pool=pool.name, role=pool.role, ordinal=ordinal)


def _wanted(owner: Owner, pool: NodePool, there: dict[UUID, CloudMachine], earlier: Earlier) -> WantedMachine:
    instance = ids.machine_uuid(owner.cluster, pool.name, owner.ordinal)
    found = there.get(instance)
    is_up = found is not None and found.powered_on
    return WantedMachine(
        owner,
        instance,
        pool.cpus,
        pool.memory_mib,
        found,
        clones=found is None or not (is_up or f"{owner.machine_name}{CLONE}" in earlier.done),
        starts=not is_up or _starting(owner) in earlier.begun,
    )


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
