"""This file is what is made of network interfaces: which address counts, and what a clone's cards are."""

from typing import Any

import pytest
from pyVmomi import vim

from gateway.clouds.port import NotThereError
from gateway.clouds.vsphere import interfaces
from gateway.clouds.vsphere.foreign import Structure

MAC = "00:50:56:00:00:01"
Ethernet = vim.vm.device.VirtualEthernetCard


def nic(*addresses: str, mac: str = MAC) -> Structure:
    return vim.vm.GuestInfo.NicInfo(macAddress=mac, ipAddress=list(addresses), connected=True, deviceConfigId=4000)


def card(key: int, *, mac: str | None = None) -> Structure:
    backing = Ethernet.NetworkBackingInfo(deviceName=f"net-{key}")
    return vim.vm.device.VirtualVmxnet3(key=key, macAddress=mac, backing=backing, addressType="manual")


@pytest.mark.parametrize(
    ("nets", "fallback", "address"),
    [
        ([], None, None),
        ([], "10.0.0.9", "10.0.0.9"),
        ([], "172.17.0.1%eth0", "172.17.0.1"),
        ([], "nonsense", None),
        ([nic()], "10.0.0.9", None),
        ([nic("10.0.0.1")], "10.0.0.9", "10.0.0.1"),
        ([nic("fe80::1", "2001:db8::1", "10.0.0.1")], None, "10.0.0.1"),
        ([nic("fe80::1", "2001:db8::1")], None, "2001:db8::1"),
        ([nic("127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1", "::", "::1", "ff02::1")], None, None),  # noqa: S104
        ([nic("172.17.0.1", mac="02:42:00:00:00:01"), nic("10.0.0.1")], "172.17.0.1", "10.0.0.1"),
        ([nic("172.17.0.1", mac="02:42:00:00:00:01")], "172.17.0.1", None),
        ([nic("10.0.0.1", mac=MAC.upper())], None, "10.0.0.1"),
    ],
)
def test_the_address_is_the_first_usable_one_of_the_machines_own_card(
    nets: list[Any], fallback: str | None, address: str | None
) -> None:
    assert interfaces.usable_address(nets, fallback=fallback, mac=MAC) == address


def test_the_mac_address_is_that_of_the_first_card() -> None:
    disk = vim.vm.device.VirtualDisk(key=2000)
    assert interfaces.mac_of([card(4001, mac="00:50:56:00:00:02"), disk, card(4000, mac=MAC.upper())]) == MAC
    assert interfaces.mac_of([disk]) is None
    assert interfaces.mac_of(None) is None


def test_a_clone_gets_new_cards_where_the_templates_were_plugged_in() -> None:
    changes = interfaces.changes([card(4001, mac=MAC), card(4000, mac=MAC)], backing=None)
    assert [(one.operation, one.device.backing.deviceName) for one in changes] == [
        ("remove", "net-4000"),
        ("remove", "net-4001"),
        ("add", "net-4000"),
        ("add", "net-4001"),
    ]
    assert [(one.device.macAddress, one.device.addressType) for one in changes[2:]] == [(None, "generated")] * 2


def test_only_the_first_card_goes_to_the_named_network() -> None:
    backing = Ethernet.NetworkBackingInfo(deviceName="named")
    changes = interfaces.changes([card(4000), card(4001)], backing=backing)
    assert [one.device.backing.deviceName for one in changes[2:]] == ["named", "net-4001"]


def test_a_template_without_a_card_gets_one_if_a_network_is_named() -> None:
    backing = Ethernet.NetworkBackingInfo(deviceName="named")
    [change] = interfaces.changes([], backing=backing)
    assert (change.operation, change.device.backing) == ("add", backing)
    with pytest.raises(NotThereError, match="name a network"):
        interfaces.changes([], backing=None)
