"""This file is a cloud in memory: it keeps the promises of gateway.clouds.port, and can be told to misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from uuid import UUID

from gateway.clouds.accounts import AccountUnknownError
from gateway.clouds.port import (
    MAC_PLACEHOLDER,
    AmbiguousNameError,
    CloudMachine,
    CloudSignInError,
    CloudTaskError,
    CloudUnreachableError,
    FolderNotEmptyError,
    MachineGoneError,
    MachineWish,
    NameTakenError,
    NoteTask,
    NotThereError,
    Placement,
)
from gateway.contract.clusters import CloudPlacement
from gateway.contract.inventory import Datastore, Inventory, Template
from gateway.kit.clock import Clock, SystemClock
from tests.fakes.stored import StoredMachine, StoredTask

DATACENTER = "DC0"
TAKEN = "the name already exists"
DISK_MIB = 2048
"""What a template's disk holds here, and every machine's."""
LOOK_EVERY = 0.1
"""Seconds of the cloud's clock between two looks at something that is waited for."""


class Point(StrEnum):
    """Where a call can be watched, held up or cut, through `MemoryCloud.at`."""

    CLONE_ASKED = "clone asked"
    """The call has come; nothing was done yet."""
    CLONE_BEGUN = "clone begun"
    """The cloud has the task; its id was not noted yet."""
    CLONE_NOTED = "clone noted"
    """The task's id was noted; nobody waits yet."""
    CLONE_MADE = "clone made"
    """The machine is there, without its guest data."""
    POWERED_ON = "powered on"
    """The machine was told to start."""
    REMOVED = "removed"
    """The machine is gone; the caller was not told yet."""


async def _go_on(_point: Point, _machine: str) -> None:
    """Let everything pass."""


@dataclass(slots=True)
class MemoryCloud:
    """The cloud itself: it outlives every connection, so a test can drop one and come back with another.

    Times are seconds on `clock`; with infinite `boot_seconds` no machine gets an address by itself.
    `failing_clones` are the numbers (from 1) of clone tasks that will fail.
    `at` is awaited at every Point with the machine's name; it may wait, or raise to cut the caller there.
    """

    clock: Clock = field(default_factory=SystemClock)
    accounts: set[str] = field(default_factory=lambda: {"lab"})
    datacenters: set[str] = field(default_factory=lambda: {DATACENTER})
    templates: set[str] = field(default_factory=lambda: {"debian-12"})
    clone_seconds: float = 0.0
    boot_seconds: float = 0.0
    failing_clones: set[int] = field(default_factory=set)
    sign_in_refused: bool = False
    unreachable: bool = False
    at: Callable[[Point, str], Awaitable[None]] = _go_on
    machines: dict[str, StoredMachine] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    sessions: int = 0
    clones_begun: int = 0
    addresses_given: int = 0
    _tasks: dict[str, StoredTask] = field(default_factory=dict)

    @asynccontextmanager
    async def connect(self, account: str) -> AsyncIterator["MemoryConnection"]:
        """Sign in; this method is the port's `Connect`."""
        if account not in self.accounts:
            raise AccountUnknownError(f"the appliance has no cloud account {account!r}", account=account)
        self.answer()
        if self.sign_in_refused:
            raise CloudSignInError("the cloud refuses the user or the password of account 'lab'")
        self.sessions += 1
        try:
            yield MemoryConnection(self)
        finally:
            self.sessions -= 1

    def answer(self) -> None:
        """Let time pass for the tasks; raise when the cloud plays dead."""
        for task in self._tasks.values():
            if not task.ended and task.ends_at <= self.clock.monotonic():
                task.ended = True
                if task.fails is None:
                    self.machines[task.machine.id] = task.machine
        if self.unreachable:
            raise CloudUnreachableError("the cloud does not answer")

    def begin_clone(self, wish: MachineWish, folder: str, *, datacenter: str = DATACENTER) -> str:
        """Start a clone as the cloud would, whoever goes on waiting for it; return the task's id."""
        self.clones_begun += 1
        number = self.clones_begun
        machine = StoredMachine(
            id=f"vm-{number}",
            name=wish.owner.machine_name,
            datacenter=datacenter,
            folder=folder,
            instance_uuid=wish.instance_uuid,
            owner=wish.owner,
            cpus=wish.cpus,
            memory_mib=wish.memory_mib,
            guest_userdata=wish.guest_userdata,
            mac=f"00:50:56:00:{number // 256:02x}:{number % 256:02x}",
        )
        fails = "no host is compatible with the virtual machine" if number in self.failing_clones else None
        if self._taken(machine):
            fails = TAKEN
        self._tasks[f"task-{number}"] = StoredTask(self.clock.monotonic() + self.clone_seconds, machine, fails)
        self.answer()
        return f"task-{number}"

    def _taken(self, wanted: StoredMachine) -> bool:
        """Whether the name is in use in the folder, by a machine or by a clone under way, as vCenter sees it."""
        coming = [task.machine for task in self._tasks.values() if not task.ended and task.fails is None]
        there: Iterable[StoredMachine] = [*self.machines.values(), *coming]
        return any((one.folder, one.name) == (wanted.folder, wanted.name) for one in there)

    def is_coming(self, instance_uuid: UUID) -> bool:
        """Whether a clone is under way that will bring this machine."""
        self.answer()
        coming = (task for task in self._tasks.values() if not task.ended and task.fails is None)
        return any(task.machine.instance_uuid == instance_uuid for task in coming)

    def under_way(self) -> list[str]:
        """Return the ids of the tasks that have not ended."""
        self.answer()
        return [task_id for task_id, task in self._tasks.items() if not task.ended]

    def task(self, task_id: str) -> StoredTask | None:
        """Return a task the cloud still knows."""
        self.answer()
        return self._tasks.get(task_id)

    def vanish(self, name: str) -> None:
        """Remove a machine behind everybody's back."""
        self.answer()
        self.machines = {key: one for key, one in self.machines.items() if one.name != name}

    def add_foreign(self, name: str, folder: str) -> StoredMachine:
        """Put a machine that is not ours into a folder."""
        machine = StoredMachine(
            id=f"vm-foreign-{len(self.machines)}",
            name=name,
            datacenter=DATACENTER,
            folder=folder,
            instance_uuid=UUID(int=len(self.machines)),
            owner=None,
            cpus=1,
            memory_mib=512,
            mac="00:50:56:ff:00:01",
        )
        self.folders.add(folder)
        self.machines[machine.id] = machine
        return machine

    def named(self, name: str) -> StoredMachine:
        """Return a machine, for a test to change behind everybody's back."""
        self.answer()
        return next(one for one in self.machines.values() if one.name == name)

    def names(self) -> list[str]:
        """Return the names of all machines that are there now."""
        self.answer()
        return sorted(one.name for one in self.machines.values())


def folder_of(cluster: UUID, cluster_name: str) -> str:
    """Return the name of the cluster's own folder."""
    return f"{cluster_name}-{cluster.hex[-8:]}"


class MemoryConnection:
    """One signed-in connection to a MemoryCloud: the port's Cloud."""

    def __init__(self, cloud: MemoryCloud) -> None:
        self._cloud = cloud

    async def inventory(self) -> Inventory:
        cloud = await self._reached()
        return Inventory(
            product="cloud in memory",
            datacenters=sorted(cloud.datacenters),
            compute_clusters=["C0"],
            datastores=[Datastore(name="DS0", datacenter=DATACENTER, free_gib=100.0, capacity_gib=200.0)],
            networks=["VM Network"],
            folders=sorted(cloud.folders),
            templates=[Template(name=name, datacenter=DATACENTER) for name in sorted(cloud.templates)],
            machines=len(cloud.machines),
        )

    async def resolve(self, wish: CloudPlacement) -> Placement:
        cloud = await self._reached()
        known = {
            "template": sorted(cloud.templates),
            "compute cluster": ["C0"],
            "datastore": ["DS0"],
            "network": ["VM Network"],
            "folder": sorted(cloud.folders),
        }
        chosen: dict[str, str | None] = {
            "template": wish.template,
            "compute cluster": wish.compute_cluster or "C0",
            "datastore": wish.datastore or "DS0",
            "network": wish.network,
            "folder": wish.folder,
        }
        ids = (await self.locate(wish)).ids
        for kind, name in chosen.items():
            if name is not None:
                ids[kind] = self._choose(kind, name, known[kind])
        return Placement(wish=wish, ids=ids, disk_mib=DISK_MIB)

    async def locate(self, wish: CloudPlacement) -> Placement:
        cloud = await self._reached()
        there = sorted(cloud.datacenters)
        if wish.datacenter is None and len(there) > 1:
            raise AmbiguousNameError(f"there are {len(there)} datacenters: name one of {', '.join(there)}")
        return Placement(wish=wish, ids={"datacenter": self._choose("datacenter", wish.datacenter or there[0], there)})

    def _choose(self, kind: str, name: str, choices: list[str]) -> str:
        """Templates and folders may be paths; a bare name that fits two of them is asked back."""
        fitting = [one for one in choices if one == name or one.endswith(f"/{name}")]
        if not fitting:
            raise NotThereError(
                f"no {kind} {name!r} in datacenter {DATACENTER}; there are: {', '.join(choices)}", kind=kind, name=name
            )
        if len(fitting) > 1:
            raise AmbiguousNameError(
                f"{len(fitting)} {kind}s in datacenter {DATACENTER} are named {name!r}: "
                f"give the path of one: {', '.join(fitting)}",
                kind=kind,
                name=name,
            )
        return fitting[0]

    async def machines(self, cluster: UUID, placement: Placement) -> list[CloudMachine]:
        cloud = await self._reached()
        here = [one for one in cloud.machines.values() if one.datacenter == placement.ids["datacenter"]]
        mine = [one for one in here if one.owner and one.owner.cluster == cluster]
        return [self._shown(one) for one in sorted(mine, key=lambda one: one.name)]

    async def clone(
        self,
        wish: MachineWish,
        placement: Placement,
        *,
        note: NoteTask,
        noted: str | None,
    ) -> CloudMachine:
        cloud = await self._reached()
        name = wish.owner.machine_name
        await cloud.at(Point.CLONE_ASKED, name)
        if noted is not None:
            await self._ended(noted)
        if self._find(wish) is None:
            own = folder_of(wish.owner.cluster, wish.owner.cluster_name)
            folder = f"{placement.ids['folder']}/{own}" if "folder" in placement.ids else own
            cloud.folders.add(folder)
            task_id = cloud.begin_clone(wish, folder, datacenter=placement.ids["datacenter"])
            await cloud.at(Point.CLONE_BEGUN, name)
            await note(task_id)
            await cloud.at(Point.CLONE_NOTED, name)
            failed = await self._ended(task_id)
            if failed == TAKEN:
                await self._wait_for_namesake(wish)
            elif failed is not None:
                raise CloudTaskError(f"the cloud could not clone {name}: {failed}", machine=name)
        machine = self._find(wish)
        if machine is None:
            raise MachineGoneError(f"machine {name} was removed by somebody else", machine=name)
        await cloud.at(Point.CLONE_MADE, name)
        if not machine.powered_on:
            machine.guest_metadata = wish.guest_metadata.replace(MAC_PLACEHOLDER, machine.mac)
            machine.cpus, machine.memory_mib = wish.cpus, wish.memory_mib
        return self._shown(machine)

    async def settle(self, noted: str) -> None:
        await self._reached()
        await self._ended(noted)

    async def settle_unnoted(self) -> None:
        cloud = await self._reached()
        for task_id in cloud.under_way():
            await self._ended(task_id)

    async def power_on(self, machine: CloudMachine) -> None:
        cloud = await self._reached()
        stored = self._there(machine)
        if not stored.powered_on:
            stored.powered_on = True
            stored.answers_at = cloud.clock.monotonic() + cloud.boot_seconds
        await cloud.at(Point.POWERED_ON, machine.name)

    async def address(self, machine: CloudMachine) -> str:
        while True:
            cloud = await self._reached()
            stored = self._there(machine)
            ready = stored.answers_at is not None and stored.answers_at <= cloud.clock.monotonic()
            if ready and stored.address is None:
                cloud.addresses_given += 1
                stored.address = f"10.0.{cloud.addresses_given // 250}.{cloud.addresses_given % 250 + 1}"
            if stored.address is not None and not ip_address(stored.address).is_link_local:
                return stored.address
            await cloud.clock.sleep(LOOK_EVERY)

    async def remove(self, machine: CloudMachine) -> None:
        cloud = await self._reached()
        cloud.machines.pop(machine.id, None)
        await cloud.at(Point.REMOVED, machine.name)

    async def tidy(self, cluster: UUID, cluster_name: str, placement: Placement) -> None:
        cloud = await self._reached()
        own = {one for one in cloud.folders if one.rpartition("/")[2] == folder_of(cluster, cluster_name)}
        left = sorted(one.name for one in cloud.machines.values() if one.folder in own)
        cloud.folders -= own - {one.folder for one in cloud.machines.values()}
        if left:
            raise FolderNotEmptyError(f"the cluster's folder still holds {', '.join(left)}: remove or move them first")

    async def _reached(self) -> MemoryCloud:
        """Every call gives others their turn first, as a network would."""
        await asyncio.sleep(0)
        self._cloud.answer()
        return self._cloud

    async def _ended(self, task_id: str) -> str | None:
        """Wait until a task has ended; return why it failed, or None."""
        while (task := self._cloud.task(task_id)) is not None and not task.ended:
            await self._cloud.clock.sleep(max(0.0, task.ends_at - self._cloud.clock.monotonic()))
        return task.fails if task is not None else None

    async def _wait_for_namesake(self, wish: MachineWish) -> None:
        """The name is taken: by our own clone, still under way since an earlier call, or by a stranger."""
        while (coming := self._cloud.is_coming(wish.instance_uuid)) or self._find(wish) is None:
            if not coming:
                name = wish.owner.machine_name
                raise NameTakenError(f"a machine named {name} is there and is not ours: rename or remove it", name=name)
            await self._cloud.clock.sleep(LOOK_EVERY)

    def _find(self, wish: MachineWish) -> StoredMachine | None:
        found = [one for one in self._cloud.machines.values() if one.instance_uuid == wish.instance_uuid]
        return found[0] if found else None

    def _there(self, machine: CloudMachine) -> StoredMachine:
        stored = self._cloud.machines.get(machine.id)
        if stored is None:
            raise MachineGoneError(f"machine {machine.name} was removed by somebody else", machine=machine.name)
        return stored

    def _shown(self, stored: StoredMachine) -> CloudMachine:
        assert stored.owner is not None
        return CloudMachine(
            id=stored.id,
            name=stored.name,
            instance_uuid=stored.instance_uuid,
            owner=stored.owner,
            powered_on=stored.powered_on,
            cpus=stored.cpus,
            memory_mib=stored.memory_mib,
            address=stored.address,
            disk_mib=DISK_MIB,
        )
