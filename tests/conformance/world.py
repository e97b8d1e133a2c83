"""This file is what a conformance test needs besides the port: an eye and a hand of its own in the cloud."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from gateway.clouds.port import Cloud, MachineWish, Owner
from gateway.contract.clusters import CloudPlacement, PoolRole
from gateway.kit.ids import machine_uuid

TEMPLATE = "debian-12"
METADATA = '{"instance-id": "i-1", "network": {"match": {"macaddress": "{mac}"}}}'
USERDATA = "#cloud-config\nhostname: ünïcode <&>\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """A machine as the cloud itself shows it, whatever the adapter says."""

    name: str
    folder: str
    instance_uuid: UUID | None
    cpus: int
    memory_mib: int
    powered_on: bool
    mac: str
    guest_metadata: str | None
    guest_userdata: str | None


class World(Protocol):
    """One cloud under test; it is signed in to with `connect` and looked at with everything else."""

    def connect(self) -> AbstractAsyncContextManager[Cloud]:
        """Sign in as the product does."""

    def connect_with_wrong_password(self) -> AbstractAsyncContextManager[Cloud]:
        """Try to sign in with a password that is not the account's."""

    async def machines(self) -> list[Seen]:
        """Return all machines, of whatever cluster, without templates."""

    async def folders(self) -> list[str]:
        """Return the names of the folders that hold machines."""

    async def sessions(self) -> int:
        """Return how many sessions of the product's user are open."""

    async def end_sessions(self) -> None:
        """End them all, as an operator can."""

    async def add_stranger(self, name: str, *, folder: str) -> None:
        """Put a machine that is not ours into a folder, which is made if need be."""

    async def add_template(self, path: str) -> None:
        """Make another template, at a path below the datacenter."""

    async def remove_templates(self) -> None:
        """Remove every template that `add_template` has made."""

    async def add_folder(self, name: str) -> None:
        """Make a folder below the datacenter."""

    async def remove_folder(self, name: str) -> None:
        """Remove a folder, with all that is in it, behind the product's back."""

    async def destroy(self, name: str) -> None:
        """Remove a machine behind the product's back."""

    async def move(self, name: str, *, folder: str) -> None:
        """Move a machine to a folder below the datacenter, which is made if need be."""

    async def strip(self, name: str) -> None:
        """Take everything from a machine that was written on it."""

    async def give_address(self, name: str, address: str) -> None:
        """Let a machine's tools report an address."""

    async def slow_clones(self, seconds: float) -> None:
        """Let every clone from now on take so long."""

    async def fail_next_clone(self) -> None:
        """Let the next clone's task fail."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of a test, with an id of its own so that tests do not meet."""

    id: UUID
    name: str

    def wish(self, ordinal: int = 0, *, cpus: int = 3, memory_mib: int = 1536) -> MachineWish:
        owner = Owner(cluster=self.id, cluster_name=self.name, pool="workers", role=PoolRole.WORKER, ordinal=ordinal)
        return MachineWish(
            owner=owner,
            instance_uuid=machine_uuid(self.id, owner.pool, ordinal),
            cpus=cpus,
            memory_mib=memory_mib,
            guest_metadata=METADATA,
            guest_userdata=USERDATA,
        )

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.id.hex[-8:]}"


def a_cluster() -> Cluster:
    made = uuid4()
    return Cluster(id=made, name=f"c{made.hex[:6]}")


def where(template: str = TEMPLATE, *, folder: str | None = None, datacenter: str | None = None) -> CloudPlacement:
    return CloudPlacement(account="lab", template=template, folder=folder, datacenter=datacenter)


async def forget(_task: str) -> None:
    """Take note of nothing."""
