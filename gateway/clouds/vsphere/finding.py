"""This file is how a cluster's machines and folders are found, wherever in their datacenter somebody moved them.

One read asks every machine of the datacenter for one mark, whose cluster it is, and every folder for its name;
a second one asks the few that are ours for everything. docs/decisions/0008-vsphere-marks.md weighs that.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pyVmomi import vim

from gateway.clouds.port import CloudMachine
from gateway.clouds.vsphere import machines, marks, reading, tasks
from gateway.clouds.vsphere.connection import Connection
from gateway.clouds.vsphere.foreign import Reference
from gateway.clouds.vsphere.reading import Properties

MARK = f'config.extraConfig["{marks.CLUSTER}"]'
"""The path of one entry of the extra configuration: the property collector takes an array's key in brackets."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a datacenter holds of a cluster: machines by their mark, and folders of its own by their name."""

    machines: list[Any]
    folders: dict[Any, str]


async def machines_of(connection: Connection, cluster: UUID, *, datacenter: Reference) -> list[CloudMachine]:
    """Return the cluster's machines, sorted by name, once those that vCenter is still making are made."""
    found = await _look(connection, cluster, datacenter=datacenter)
    seen: dict[Any, Properties] = {}
    for folder in found.folders:
        seen |= await _made(connection, folder)
    elsewhere = [machine for machine in found.machines if machine not in seen]
    seen |= await reading.of(connection.collector, elsewhere, machines.PATHS, kind=vim.VirtualMachine)
    described = [machines.described(machine, properties) for machine, properties in seen.items()]
    ours = [one for one in described if one is not None and one.owner.cluster == cluster]
    return sorted(ours, key=lambda one: one.name)


async def folders_of(connection: Connection, cluster: UUID, *, datacenter: Reference) -> dict[Any, str]:
    """Return the cluster's own folders and their names; more than one only if the folder above was changed."""
    wanted = {vim.Folder: ("name",)}
    found = await reading.below(connection.collector, datacenter, steps=_by_folder(), wanted=wanted)
    return _own_folders(found, cluster)


async def _look(connection: Connection, cluster: UUID, *, datacenter: Reference) -> Found:
    wanted = {vim.VirtualMachine: (MARK,), vim.Folder: ("name",)}
    found = await reading.below(connection.collector, datacenter, steps=[*_by_folder(), *_by_pool()], wanted=wanted)
    marked = [one for one, seen in found.items() if MARK in seen and str(seen[MARK].value) == str(cluster)]
    return Found(marked, _own_folders(found, cluster))


def _own_folders(found: dict[Any, Properties], cluster: UUID) -> dict[Any, str]:
    ending = machines.folder_ending(cluster)
    return {
        one: seen["name"]
        for one, seen in found.items()
        if isinstance(one, vim.Folder) and seen.get("name", "").endswith(ending)
    }


async def _made(connection: Connection, folder: Reference) -> dict[Any, Properties]:
    """Return the machines in one of the cluster's own folders once vCenter has made them all.

    A machine that is being cloned shows in its folder without configuration. One that has none and no task
    is broken (its datastore is lost): it cannot be told whose it is, and waiting would not help.
    """
    found = await machines.below(connection, folder)
    unmade = [seen for seen in found.values() if not seen.get("config.instanceUuid")]
    if not unmade:
        return found
    for task in [task for seen in unmade for task in seen.get("recentTask") or []]:
        await tasks.ended(connection.watch, task)
    return await machines.below(connection, folder)


def _by_folder() -> list[Any]:
    """Return how to go from a datacenter to its folders and to the machines in them."""
    return [
        reading.step(vim.Datacenter, "vmFolder", name="vmFolder", then=["folders"]),
        reading.step(vim.Folder, "childEntity", name="folders", then=["folders"]),
    ]


def _by_pool() -> list[Any]:
    """Return how to go from a datacenter to the machines in its resource pools.

    A machine in a vApp is in no folder, but a vApp is a resource pool.
    """
    return [
        reading.step(vim.Datacenter, "hostFolder", name="hostFolder", then=["hosts"]),
        reading.step(vim.Folder, "childEntity", name="hosts", then=["hosts", "root"]),
        reading.step(vim.ComputeResource, "resourcePool", name="root", then=["pools", "members"]),
        reading.step(vim.ResourcePool, "resourcePool", name="pools", then=["pools", "members"]),
        reading.step(vim.ResourcePool, "vm", name="members"),
    ]
