"""This file is how much a machine's disks hold."""

from collections.abc import Iterable
from typing import Any

from pyVmomi import vim

from gateway.clouds.vsphere import reading
from gateway.clouds.vsphere.foreign import Reference

KIB_IN_MIB = 1024


def mebibytes(devices: Iterable[Any] | None) -> int:
    """Return what the disks among a machine's devices hold together, begun mebibytes counted whole."""
    disks = [one for one in devices or [] if isinstance(one, vim.vm.device.VirtualDisk)]
    return sum(-(-one.capacityInKB // KIB_IN_MIB) for one in disks)


async def size_of(collector: Reference, machine: Reference) -> int:
    """Return what a machine's disks hold together, in MiB; 0 when it is gone."""
    path = "config.hardware.device"
    found = await reading.of(collector, [machine], [path], kind=vim.VirtualMachine)
    return mebibytes(found.get(machine, {}).get(path))
