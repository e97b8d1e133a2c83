"""This file is how a cluster's own folder is removed: only when it is empty, and not silently when it is not."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from pyVmomi import vim

from gateway.clouds.port import FolderNotEmptyError
from gateway.clouds.vsphere import finding, reading, references, tasks
from gateway.clouds.vsphere.connection import Connection
from gateway.clouds.vsphere.foreign import Reference

MOST_NAMED = 10
"""How many things left in a folder an error lists before it says how many more there are."""


async def tidy(connection: Connection, cluster: UUID, *, datacenter: Reference) -> None:
    """Remove the cluster's own folders. Raises FolderNotEmptyError once those that are empty are gone."""
    folders = await finding.folders_of(connection, cluster, datacenter=datacenter)
    kept = {}
    for folder, name in folders.items():
        # vCenter would remove what is in the folder along with it, so that is looked at right before.
        if inside := await _inside(connection, folder):
            kept[name] = inside
        else:
            await tasks.done(connection.watch, folder.Destroy_Task)
    for name, inside in kept.items():
        raise FolderNotEmptyError(
            f"folder {name} in vCenter still holds {_listed(inside)}, not known as the cluster's: remove or move what "
            "is in it in vCenter and delete the cluster again",
            folder=name,
            left=len(inside),
        )


async def _inside(connection: Connection, folder: Reference) -> list[str]:
    """Return the names of everything in a folder; nothing when it is gone."""
    found = await reading.of(connection.collector, [folder], ["childEntity"], kind=vim.Folder)
    children: list[Any] = found.get(folder, {}).get("childEntity") or []
    named = await reading.of(connection.collector, children, ["name"])
    return sorted(named.get(one, {}).get("name") or references.text_of(one) for one in children)


def _listed(names: Iterable[str]) -> str:
    all_of_them = list(names)
    more = f" and {len(all_of_them) - MOST_NAMED} more" if len(all_of_them) > MOST_NAMED else ""
    return ", ".join(all_of_them[:MOST_NAMED]) + more
