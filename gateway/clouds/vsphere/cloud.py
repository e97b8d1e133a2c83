"""This file is the vSphere adapter's face: gateway.clouds.port.Cloud, for any vCenter from 7.0 on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from gateway.clouds.accounts import CloudAccount
from gateway.clouds.port import Cloud, CloudMachine, MachineWish, NoteTask, Placement
from gateway.clouds.vsphere import cloning, disks, finding, inventory, machines, placement, references, tidying, tree
from gateway.clouds.vsphere.connection import Connection, signed_in
from gateway.clouds.vsphere.faults import translated
from gateway.clouds.vsphere.foreign import Reference
from gateway.contract.clusters import CloudPlacement
from gateway.contract.inventory import Inventory
from gateway.kit.clock import Clock, SystemClock


@asynccontextmanager
async def connect(account: CloudAccount, *, clock: Clock | None = None) -> AsyncIterator[Cloud]:
    """Sign in to a vCenter; leaving signs out."""
    async with signed_in(account, clock=clock or SystemClock()) as connection:
        yield VSphere(connection)


class VSphere:
    """A signed-in vCenter."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def inventory(self) -> Inventory:
        """See the port."""
        async with translated(self._connection.collector):
            return inventory.told(await self._tree(), product=self._connection.content.about.fullName)

    async def resolve(self, wish: CloudPlacement) -> Placement:
        """See the port."""
        async with translated(self._connection.collector):
            found = placement.resolved(await self._tree(), wish)
            template = self._reference(found.ids["template"])
            return replace(found, disk_mib=await disks.size_of(self._connection.collector, template))

    async def locate(self, wish: CloudPlacement) -> Placement:
        """See the port."""
        async with translated(self._connection.collector):
            found = await tree.read_datacenters(self._connection.collector, self._connection.content.rootFolder)
            return placement.located(found, wish)

    async def machines(self, cluster: UUID, placement: Placement) -> list[CloudMachine]:
        """See the port. Machines that vCenter is still making are waited for."""
        async with translated(self._connection.collector):
            datacenter = self._reference(placement.ids["datacenter"])
            return await finding.machines_of(self._connection, cluster, datacenter=datacenter)

    async def clone(
        self, wish: MachineWish, placement: Placement, *, note: NoteTask, noted: str | None
    ) -> CloudMachine:
        """See the port."""
        async with translated(self._connection.collector):
            return await cloning.clone(self._connection, wish, placement, note=note, noted=noted)

    async def settle(self, noted: str) -> None:
        """See the port."""
        async with translated(self._connection.collector):
            await cloning.settle(self._connection, noted)

    async def settle_unnoted(self) -> None:
        """See the port. Clones of templates by others cannot be told from ours and are waited for as well."""
        async with translated(self._connection.collector):
            await cloning.settle_unnoted(self._connection)

    async def power_on(self, machine: CloudMachine) -> None:
        """See the port."""
        async with translated(self._connection.collector):
            await machines.power_on(self._connection, self._reference(machine.id))

    async def address(self, machine: CloudMachine) -> str:
        """See the port."""
        async with translated(self._connection.collector):
            return await machines.address(self._connection, self._reference(machine.id), name=machine.name)

    async def remove(self, machine: CloudMachine) -> None:
        """See the port."""
        async with translated(self._connection.collector):
            await machines.remove(self._connection, self._reference(machine.id))

    async def tidy(self, cluster: UUID, cluster_name: str, placement: Placement) -> None:  # noqa: ARG002 - the id is enough
        """See the port."""
        async with translated(self._connection.collector):
            datacenter = self._reference(placement.ids["datacenter"])
            await tidying.tidy(self._connection, cluster, datacenter=datacenter)

    async def _tree(self) -> tree.Tree:
        return await tree.read(self._connection.collector, self._connection.content.rootFolder)

    def _reference(self, text: str) -> Reference:
        return references.from_text(text, self._connection.wire)
