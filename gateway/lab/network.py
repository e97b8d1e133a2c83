"""This file is the data centre's network: one bridge, machines on it, and an uplink that can go silent.

    root namespace                 lab's namespace (the data centre)             machine's namespace
    pcglabN 10.214.N.1/30 ======== uplink 10.214.N.2/30
                                   dc0    10.213.0.1/24 (DHCP, DNS)
                                          10.213.0.2/24 (vCenter)
                                     |-- vm-12-0 ============================== eth0, the VM's MAC

No default route anywhere and no forwarding: machines reach each other, vCenter and whatever runs in the
lab's namespace, and nothing beyond it.
"""

from collections.abc import Sequence
from pathlib import Path

from gateway.kit.errors import GatewayError, Remedy
from gateway.lab import places, programs

NOWHERE = "02:00:00:00:00:00"
"""A neighbour's address that nobody has: frames sent to it are dropped without a word."""


NO_DOUBT = "echo 0 > /proc/sys/net/ipv6/conf/default/dad_transmits"
"""An IPv6 address is asked for before it is used, and a machine's network is not online for that second."""


class NoFreeUplinkError(GatewayError):
    """All numbers for labs are taken."""

    code = "lab.no_free_uplink"
    remedy = Remedy.OPERATOR


def claim_uplink() -> int:
    """Make an uplink (both ends still in the root namespace) and return its number.

    The kernel refuses a second interface of the same name, which makes a number unique on the machine.
    """
    for number in range(1, places.LARGEST_NUMBER + 1):
        outside = places.uplink_interface(number)
        if (Path("/sys/class/net") / outside).exists():
            continue
        try:
            programs.run(["ip", "link", "add", outside, "type", "veth", "peer", "name", f"{outside}i"])
        except programs.ProgramFailedError as fault:
            if "exists" in fault.message:
                continue
            raise
        programs.run(["ip", "address", "add", f"{places.uplink_outside(number)}/30", "dev", outside])
        programs.run(["ip", "link", "set", outside, "up"])
        return number
    raise NoFreeUplinkError("254 labs run on this machine: end one with pcg lab down")


def hand_in_uplink(number: int, world_pid: int) -> None:
    """Move the uplink's inner end into the namespace of process `world_pid` and give it its address."""
    inner = f"{places.uplink_interface(number)}i"
    programs.run(["ip", "link", "set", inner, "netns", str(world_pid)])
    inside = ["nsenter", f"--target={world_pid}", "--net", "ip"]
    programs.run([*inside, "link", "set", inner, "name", "uplink"])
    programs.run([*inside, "address", "add", f"{places.uplink_inside(number)}/30", "dev", "uplink"])
    programs.run([*inside, "link", "set", "uplink", "up"])


def drop_uplink(number: int) -> None:
    """Remove the uplink, wherever its inner end is; it may be gone already."""
    outside = places.uplink_interface(number)
    if (Path("/sys/class/net") / outside).exists():
        try:
            programs.run(["ip", "link", "delete", outside])
        except programs.ProgramFailedError:
            if (Path("/sys/class/net") / outside).exists():  # else the dying namespace was faster
                raise


def set_uplink(number: int, world_pid: int, *, silent: bool) -> None:
    """Make the uplink lose every packet both ways without an error to anyone, or carry them again."""
    outside = ["ip", "neighbour"]
    inside = ["nsenter", f"--target={world_pid}", "--net", "ip", "neighbour"]
    ends = [
        (outside, places.uplink_inside(number), places.uplink_interface(number)),
        (inside, places.uplink_outside(number), "uplink"),
    ]
    for command, neighbour, interface in ends:
        if silent:
            change = ["replace", neighbour, "lladdr", NOWHERE, "nud", "permanent", "dev", interface]
            programs.run([*command, *change])
        else:
            programs.run([*command, "flush", "to", neighbour, "nud", "permanent", "dev", interface])


def lay_out() -> None:
    """Make the data centre's bridge in the namespace this process is in; /run has to be the lab's own."""
    Path("/run/netns").mkdir()
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0", encoding="ascii")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("0", encoding="ascii")
    for command in (
        ["link", "set", "lo", "up"],
        ["link", "add", places.BRIDGE, "type", "bridge", "forward_delay", "0"],
        ["address", "add", f"{places.GATEWAY_ADDRESS}/{places.NETWORK_BITS}", "dev", places.BRIDGE],
        ["address", "add", f"{places.VCENTER_ADDRESS}/{places.NETWORK_BITS}", "dev", places.BRIDGE],
        ["link", "set", places.BRIDGE, "up"],
    ):
        programs.run(["ip", *command])


def dnsmasq_command() -> list[str]:
    """Return the command of the data centre's DHCP and DNS server, which stays in the foreground."""
    return [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--log-facility=-",
        f"--interface={places.BRIDGE}", "--bind-interfaces", "--no-resolv", "--no-hosts", "--no-ping",
        "--dhcp-authoritative", "--dhcp-leasefile=/run/dhcp.leases", "--dhcp-rapid-commit", "--quiet-dhcp",
        f"--dhcp-range={places.DHCP_FIRST},{places.DHCP_LAST},12h",
        "--dhcp-option=3",  # no router: there is nowhere to go
        f"--domain={places.DOMAIN}", f"--local=/{places.DOMAIN}/",
        f"--address=/{places.VCENTER_NAME}/{places.VCENTER_ADDRESS}",
    ]  # fmt: skip


async def connect(machine: str, macs: Sequence[str]) -> Path:
    """Make a network namespace named `machine` with one interface for each MAC on the bridge; return its path."""
    await programs.run_soon(["ip", "netns", "add", machine])
    await programs.run_soon(["ip", "-n", machine, "link", "set", "lo", "up"])
    await programs.run_soon(["ip", "netns", "exec", machine, "sh", "-c", NO_DOUBT])
    for index, mac in enumerate(macs):
        outer, inner = f"{machine}-{index}", f"{machine}-{index}i"
        await programs.run_soon(["ip", "link", "add", outer, "type", "veth", "peer", "name", inner])
        await programs.run_soon(["ip", "link", "set", inner, "netns", machine, "address", mac, "name", f"eth{index}"])
        await programs.run_soon(["ip", "link", "set", outer, "master", places.BRIDGE, "up"])
    return Path("/run/netns") / machine


async def disconnect(machine: str) -> None:
    """Remove the namespace and, with it, its interfaces; it may be gone already."""
    if (Path("/run/netns") / machine).exists():
        await programs.run_soon(["ip", "netns", "delete", machine])
