"""This file is vCenter's inventory as a tree: everything that has a name, read in one call."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pyVmomi import vim

from gateway.clouds.vsphere import reading
from gateway.clouds.vsphere.foreign import Kind, Reference
from gateway.clouds.vsphere.reading import Properties

FOLDERS = ("vmFolder", "hostFolder", "datastoreFolder", "networkFolder")
UPLINK_TAG = "SYSTEM/DVS.UPLINKPG"
"""Marks the port group of a distributed switch's own uplinks, which is for no machine."""

WANTED = {
    vim.Datacenter: ("name", "parent", *FOLDERS),
    vim.Folder: ("name", "parent"),
    vim.ComputeResource: ("name", "parent", "resourcePool", "datastore", "network"),
    vim.ResourcePool: ("name", "parent"),
    vim.Datastore: (
        "name",
        "parent",
        "summary.freeSpace",
        "summary.capacity",
        "summary.accessible",
        "summary.maintenanceMode",
    ),
    vim.Network: ("name", "parent", "tag"),
    vim.VirtualMachine: ("name", "parent", "config.template", "config.guestFullName"),
}


@dataclass(frozen=True, slots=True)
class Thing:
    """One object of the inventory; `path` is its name below its datacenter, such as linux/debian-12."""

    reference: Reference
    name: str
    path: str
    datacenter: Reference
    properties: Properties

    @property
    def is_template(self) -> bool:
        """Whether it is a virtual machine template."""
        return bool(self.properties.get("config.template"))

    @property
    def is_usable_datastore(self) -> bool:
        """Whether new disks can be put on it."""
        mode = self.properties.get("summary.maintenanceMode") or "normal"
        return bool(self.properties.get("summary.accessible")) and mode == "normal"

    @property
    def is_uplink(self) -> bool:
        """Whether it is a switch's uplink, not a network."""
        return any(tag.key == UPLINK_TAG for tag in self.properties.get("tag") or [])


class Tree:
    """The inventory as it was when it was read."""

    def __init__(self, found: dict[Any, Properties]) -> None:
        self._found = found
        self._hidden = {
            properties[folder]
            for reference, properties in found.items()
            if isinstance(reference, vim.Datacenter)
            for folder in FOLDERS
            if folder in properties
        }

    def of(self, kind: Kind, *, datacenter: Reference = None) -> Iterator[Thing]:
        """Yield what is of a kind, in one datacenter or everywhere."""
        for reference in self._found:
            if isinstance(reference, kind) and reference not in self._hidden:
                thing = self.thing(reference)
                if datacenter is None or thing.datacenter == datacenter:
                    yield thing

    def thing(self, reference: Reference) -> Thing:
        """Return one object."""
        names: list[str] = []
        properties = self._found[reference]
        current = reference
        while current in self._found and not isinstance(current, vim.Datacenter):
            if current not in self._hidden and not _is_hidden_pool(current, self._found[current]):
                names.append(_readable(self._found[current].get("name", "")))
            current = self._found[current].get("parent")
        inside = current if isinstance(current, vim.Datacenter) else None
        name = _readable(properties.get("name", ""))
        return Thing(reference, name, "/".join(reversed(names)) or name, inside, properties)

    def within(self, reference: Reference, ancestor: Reference) -> bool:
        """Whether an object is below another one, or is that one."""
        current = reference
        while current is not None and current != ancestor:
            current = self._found.get(current, {}).get("parent")
        return current is not None


async def read(collector: Reference, root: Reference) -> Tree:
    """Read the whole inventory below the root folder in one call."""
    found: dict[Any, Properties] = await reading.below(collector, root, steps=_steps(), wanted=WANTED)
    return Tree(found)


async def read_datacenters(collector: Reference, root: Reference) -> Tree:
    """Read the datacenters alone, and the folders they are in."""
    steps = [reading.step(vim.Folder, "childEntity", name="folder", then=["folder"])]
    wanted = {kind: WANTED[kind] for kind in (vim.Datacenter, vim.Folder)}
    return Tree(await reading.below(collector, root, steps=steps, wanted=wanted))


def _steps() -> list[Any]:
    """Return how to go from the root folder to everything else; each step is named, for folders nest."""
    everywhere = ["folder", *FOLDERS, "pool", "pools"]
    return [
        reading.step(vim.Folder, "childEntity", name="folder", then=everywhere),
        *(reading.step(vim.Datacenter, folder, name=folder, then=everywhere) for folder in FOLDERS),
        reading.step(vim.ComputeResource, "resourcePool", name="pool", then=["pools"]),
        reading.step(vim.ResourcePool, "resourcePool", name="pools", then=["pools"]),
    ]


def _is_hidden_pool(reference: Reference, properties: Properties) -> bool:
    return isinstance(reference, vim.ResourcePool) and isinstance(properties.get("parent"), vim.ComputeResource)


def _readable(name: str) -> str:
    """Return a name as people know it: vCenter keeps slashes, backslashes and percent signs escaped."""
    return unquote(name)
