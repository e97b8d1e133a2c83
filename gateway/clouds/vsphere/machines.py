"""This file is virtual machines as vCenter shows them: found, described, powered and removed."""

from typing import Any
from uuid import UUID

from pyVmomi import vim, vmodl

from gateway.clouds.port import CloudMachine, CloudTaskError, MachineGoneError, MachineInaccessibleError
from gateway.clouds.vsphere import disks, interfaces, marks, reading, references, tasks
from gateway.clouds.vsphere.connection import Connection
from gateway.clouds.vsphere.foreign import Reference
from gateway.clouds.vsphere.reading import Properties

PATHS = (
    "name",
    "config.instanceUuid",
    "config.extraConfig",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "runtime.powerState",
    "guest.net",
    "guest.ipAddress",
)
ON, OFF = "poweredOn", "poweredOff"


def folder_name(cluster: UUID, cluster_name: str) -> str:
    """Return the name of a cluster's own folder.

    The last eight digits of the id, not the first: those of a UUIDv7 are the time, the same for all clusters
    made within a minute.
    """
    return f"{cluster_name}{folder_ending(cluster)}"


def folder_ending(cluster: UUID) -> str:
    """Return what the name of every folder of a cluster's own ends in."""
    return f"-{cluster.hex[-8:]}"


async def folders(connection: Connection, cluster: UUID, *, parent: Reference) -> list[Any]:
    """Return the cluster's folders right below `parent`; more than one only if somebody has made one by hand."""
    steps = [reading.step(vim.Folder, "childEntity")]
    found = await reading.below(connection.collector, parent, steps=steps, wanted={vim.Folder: ("name", "parent")})
    ending = folder_ending(cluster)
    return [one for one, seen in found.items() if seen.get("parent") == parent and seen["name"].endswith(ending)]


async def below(connection: Connection, folder: Reference) -> dict[Any, Properties]:
    """Return the properties of every machine in a folder, in one read."""
    steps = [reading.step(vim.Folder, "childEntity")]
    wanted = {vim.VirtualMachine: (*PATHS, "recentTask")}
    return await reading.below(connection.collector, folder, steps=steps, wanted=wanted)


async def by_instance_uuid(connection: Connection, instance_uuid: UUID, *, datacenter: Reference) -> Reference | None:
    """Return the machine with that instance UUID, or None."""
    index = connection.content.searchIndex
    return await index.FindByUuid(datacenter=datacenter, uuid=str(instance_uuid), vmSearch=True, instanceUuid=True)


async def look(connection: Connection, machine: Reference, *paths: str) -> Properties:
    """Return a machine's properties. Raises MachineGoneError."""
    found = await reading.of(connection.collector, [machine], paths or PATHS, kind=vim.VirtualMachine)
    if machine not in found:
        raise gone(references.text_of(machine))
    return found[machine]


def gone(name: str) -> MachineGoneError:
    """Return the error that says that a machine is no more."""
    return MachineGoneError(f"machine {name} was removed from vCenter by somebody else", machine=name)


def inaccessible(name: str) -> MachineInaccessibleError:
    """Return the error that says that vCenter knows a machine but not its configuration."""
    return MachineInaccessibleError(
        f"machine {name} is inaccessible in vCenter: bring its datastore or host back, or remove the machine from the "
        "inventory there, and try again",
        machine=name,
    )


def described(machine: Reference, seen: Properties) -> CloudMachine | None:
    """Return a machine in the port's shape; None when it does not carry our marks."""
    owner = marks.owner_of(marks.read(seen.get("config.extraConfig")))
    if owner is None or not seen.get("config.instanceUuid"):
        return None
    mac = interfaces.mac_of(seen.get("config.hardware.device"))
    return CloudMachine(
        id=references.text_of(machine),
        name=seen["name"],
        instance_uuid=UUID(seen["config.instanceUuid"]),
        owner=owner,
        powered_on=seen.get("runtime.powerState") == ON,
        cpus=seen.get("config.hardware.numCPU", 0),
        memory_mib=seen.get("config.hardware.memoryMB", 0),
        address=interfaces.usable_address(seen.get("guest.net"), fallback=seen.get("guest.ipAddress"), mac=mac),
        disk_mib=disks.mebibytes(seen.get("config.hardware.device")),
    )


async def power_on(connection: Connection, machine: Reference) -> None:
    """Power a machine on; does nothing when it is on."""
    if (await look(connection, machine, "runtime.powerState")).get("runtime.powerState") == ON:
        return
    try:
        await tasks.done(connection.watch, machine.PowerOnVM_Task)
    except vim.fault.InvalidPowerState as fault:
        if fault.existingState != ON:
            raise


async def remove(connection: Connection, machine: Reference) -> None:
    """Power a machine off, hard, and destroy it; does nothing when it is gone."""
    for _ in range(tasks.TRIES):
        try:
            await _remove(connection, machine)
        except (vmodl.fault.ManagedObjectNotFound, MachineGoneError):
            return
        except vim.fault.InvalidPowerState:
            continue
        else:
            return
    raise CloudTaskError(
        f"{references.text_of(machine)} cannot be removed: something else keeps changing it",
        machine=references.text_of(machine),
    )


async def _remove(connection: Connection, machine: Reference) -> None:
    if (await look(connection, machine, "runtime.powerState")).get("runtime.powerState") != OFF:
        await tasks.done(connection.watch, machine.PowerOffVM_Task)
    await tasks.done(connection.watch, machine.Destroy_Task)


async def address(connection: Connection, machine: Reference, *, name: str) -> str:
    """Wait until a machine's tools report a usable address."""
    mac = interfaces.mac_of((await look(connection, machine, "config.hardware.device")).get("config.hardware.device"))

    def decide(seen: Properties | None) -> str | None:
        if seen is None:
            raise gone(name)
        return interfaces.usable_address(seen.get("guest.net"), fallback=seen.get("guest.ipAddress"), mac=mac)

    return await connection.watch.until(
        machine, ("guest.net", "guest.ipAddress"), kind=vim.VirtualMachine, decide=decide
    )
