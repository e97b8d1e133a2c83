"""This file is a machine's network interfaces: their devices when it is cloned, their addresses when it runs."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from pyVmomi import vim

from gateway.clouds.port import NotThereError
from gateway.clouds.vsphere import reading
from gateway.clouds.vsphere.foreign import Kind, Reference, Structure
from gateway.clouds.vsphere.reading import Properties

NEW_DEVICE = -100
"""Keys of devices that are to be made are negative; vCenter gives the real ones."""


def cards(devices: Iterable[Any] | None) -> list[Any]:
    """Return the network cards among a machine's devices, the first one first."""
    return sorted(
        (one for one in devices or [] if isinstance(one, vim.vm.device.VirtualEthernetCard)), key=lambda one: one.key
    )


def mac_of(devices: Iterable[Any] | None) -> str | None:
    """Return the MAC address of the first interface, in lower case; None when there is none."""
    macs = [one.macAddress for one in cards(devices) if one.macAddress]
    return macs[0].lower() if macs else None


def changes(template_devices: Iterable[Any] | None, *, backing: Structure | None) -> list[Any]:
    """Return the device changes of a clone: every card anew, for a fresh MAC address each.

    An edited card may keep the template's address (it does when that was set by hand), a new one never does.
    `backing` is what the first card is plugged into; None leaves it where the template has it. Raises
    NotThereError when there is no card and no network for one.
    """
    old = cards(template_devices)
    if not old and backing is None:
        raise NotThereError("the template has no network interface: name a network for one", kind="network")
    first = backing if backing is not None else old[0].backing
    kinds = [type(one) for one in old] or [vim.vm.device.VirtualVmxnet3]
    backings = [first, *(one.backing for one in old[1:])]
    removed = [vim.vm.device.VirtualDeviceSpec(operation="remove", device=one) for one in old]
    return removed + [_added(kind, at, plugged) for at, (kind, plugged) in enumerate(zip(kinds, backings, strict=True))]


def _added(kind: Kind, at: int, backing: Structure) -> Structure:
    connectable = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=False)
    card = kind(
        key=NEW_DEVICE - at, backing=backing, connectable=connectable, addressType="generated", wakeOnLanEnabled=True
    )
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=card)


async def backing_of(collector: Reference, network: Reference) -> Structure:
    """Return what a card is plugged into to be on a network: standard, distributed or opaque (NSX)."""
    ethernet = vim.vm.device.VirtualEthernetCard
    if isinstance(network, vim.dvs.DistributedVirtualPortgroup):
        group = await _properties(collector, network, "key", "config.distributedVirtualSwitch")
        switch = await _properties(collector, group["config.distributedVirtualSwitch"], "uuid")
        port = vim.dvs.PortConnection(portgroupKey=group["key"], switchUuid=switch["uuid"])
        return ethernet.DistributedVirtualPortBackingInfo(port=port)
    if isinstance(network, vim.OpaqueNetwork):
        summary = (await _properties(collector, network, "summary"))["summary"]
        return ethernet.OpaqueNetworkBackingInfo(
            opaqueNetworkId=summary.opaqueNetworkId, opaqueNetworkType=summary.opaqueNetworkType
        )
    name = (await _properties(collector, network, "name"))["name"]
    return ethernet.NetworkBackingInfo(deviceName=name, network=network)


async def _properties(collector: Reference, reference: Reference, *paths: str) -> Properties:
    found = await reading.of(collector, [reference], paths, kind=type(reference))
    if reference not in found:
        raise NotThereError("the network was removed from vCenter", kind="network")
    return found[reference]


def usable_address(nets: Iterable[Any] | None, *, fallback: str | None, mac: str | None) -> str | None:
    """Return the address to reach a machine at, as its tools report it: IPv4 first; None while there is none.

    Only addresses of the machine's own first card count, because the tools also report those of bridges inside
    the guest. `fallback`, the tools' own pick, counts only while they report no cards at all.
    """
    reported = list(nets or [])
    if reported:
        own = [one for one in reported if mac is None or (one.macAddress or "").lower() == mac]
        texts = [text for one in own for text in one.ipAddress or []]
    else:
        texts = [fallback] if fallback else []
    usable = [address for text in texts if (address := _usable(text)) is not None]
    usable.sort(key=lambda address: address.version)
    return str(usable[0]) if usable else None


def _usable(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    unusable = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    return None if unusable else address
