"""This file is what we write on a virtual machine: whose it is, and what cloud-init is to do in it.

Everything is extra configuration of the machine itself, so that it lives and dies with the machine, moves with
it, and is read in the same call as its name. Keys that begin with `guestinfo.` can be read inside the guest;
the marks cannot (docs/decisions/0008-vsphere-marks.md).
"""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from pyVmomi import vim

from gateway.clouds.port import MAC_PLACEHOLDER, MachineWish, Owner
from gateway.contract.clusters import PoolRole

CLUSTER, CLUSTER_NAME = "pcg.cluster", "pcg.cluster_name"
POOL, ROLE, ORDINAL = "pcg.pool", "pcg.role", "pcg.ordinal"
METADATA, USERDATA = "guestinfo.metadata", "guestinfo.userdata"


def of_owner(owner: Owner) -> dict[str, str]:
    """Return the marks that say whose a machine is."""
    return {
        CLUSTER: str(owner.cluster),
        CLUSTER_NAME: owner.cluster_name,
        POOL: owner.pool,
        ROLE: owner.role.value,
        ORDINAL: str(owner.ordinal),
    }


def owner_of(settings: dict[str, str]) -> Owner | None:
    """Return whose a machine is, by its marks; None when they are missing or make no sense."""
    try:
        return Owner(
            cluster=UUID(settings[CLUSTER]),
            cluster_name=settings[CLUSTER_NAME],
            pool=settings[POOL],
            role=PoolRole(settings[ROLE]),
            ordinal=int(settings[ORDINAL]),
        )
    except (KeyError, ValueError):
        return None


def at_birth(wish: MachineWish) -> dict[str, str]:
    """Return what is written in the clone call itself: everything that does not need the MAC address."""
    # Lets a guest find its disks by vCenter's ids, which the storage driver of Kubernetes needs.
    settings = {"disk.EnableUUID": "TRUE", **of_owner(wish.owner), **_encoded(USERDATA, wish.guest_userdata)}
    return settings if MAC_PLACEHOLDER in wish.guest_metadata else settings | _encoded(METADATA, wish.guest_metadata)


def complete(wish: MachineWish, *, mac: str) -> dict[str, str]:
    """Return everything that is to be written on a machine, once its MAC address is known."""
    return at_birth(wish) | _encoded(METADATA, wish.guest_metadata.replace(MAC_PLACEHOLDER, mac))


def read(extra_config: Iterable[Any] | None) -> dict[str, str]:
    """Return a machine's extra configuration as a mapping."""
    return {one.key: str(one.value) for one in extra_config or []}


def written(settings: dict[str, str]) -> list[Any]:
    """Return settings as vCenter wants them."""
    return [vim.option.OptionValue(key=key, value=value) for key, value in settings.items()]


def _encoded(key: str, text: str) -> dict[str, str]:
    """Return a guestinfo value as cloud-init's VMware data source reads it: base64, and a key that says so."""
    return {key: b64encode(text.encode()).decode("ascii"), f"{key}.encoding": "base64"}
