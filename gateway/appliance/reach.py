"""This file is which addresses a stream may be dialled to: rules alone, that resolve nothing and open nothing.

Deny wins over allow, and one bad address among several refuses them all: a name that answers both ways is being used
to get past the rules (DNS rebinding). An IPv4 address that travels in an IPv6 address is judged too, and can only deny:
what looks like ISATAP or 6to4 is an address that anybody may own. The two forms that always lead to the IPv4 address
itself, mapped and NAT64 at its well-known prefix, are allowed where that is.
"""

from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gateway.kit.errors import GatewayError, Remedy

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_ADDRESSES = 32
"""Addresses of one answer that are looked at; more than that is no answer about a target."""

DENY: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; clouds serve credentials at 169.254.169.254
        "192.0.0.0/24",  # protocol assignments; metadata at 192.0.0.192
        "100.100.100.200/32",  # metadata
        "168.63.129.16/32",  # metadata
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/128",
        "::1/128",
        "100::/64",  # discard
        "fe80::/10",
        "fec0::/10",  # site-local, given up
        "ff00::/8",
        "fd00:ec2::254/128",  # metadata
        "fd20:ce::254/128",  # metadata
        "fd00:c1::a9fe:a9fe/128",  # metadata
        "fd00:42::42/128",  # metadata
    )
)
"""What no stream may go to, whatever the operator allows: the appliance itself and what only its own link has."""

MAPPED = IPv6Network("::ffff:0:0/96")
COMPATIBLE = IPv6Network("::/96")
TRANSLATED = IPv6Network("::ffff:0:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")
NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
ISATAP = 0x5EFE
UNIVERSAL = 0x0200_0000


class AddressRefusedError(GatewayError):
    """The address of the target is one that no stream may go to.

    The message is for whoever asked and names no address; `address` and `why` are for the audit log of the site.
    """

    code = "stream.address_refused"
    remedy = Remedy.OPERATOR

    def __init__(self, address: str, why: str) -> None:
        super().__init__("the target's address is not allowed on this appliance: its audit log says which and why")
        self.address = address
        self.why = why


def judge(
    addresses: Collection[str], *, allow: Collection[Network], deny: Collection[Network], own: Callable[[Address], bool]
) -> tuple[Address, ...]:
    """Return the resolved addresses, each of which may be dialled. Raises AddressRefusedError if any may not.

    `own` tells whether an address is one of the appliance's.
    """
    if not 0 < len(addresses) <= MOST_ADDRESSES:
        raise AddressRefusedError("", f"the name has {len(addresses)} addresses")
    found = tuple(_read(text) for text in addresses)
    for address in found:
        why = _why_not(address, allow=allow, deny=deny, own=own)
        if why is not None:
            raise AddressRefusedError(str(address), why)
    return found


def inside(address: Address) -> frozenset[IPv4Address]:
    """Return the IPv4 addresses that travel in an IPv6 address, by every scheme its bits allow."""
    if isinstance(address, IPv4Address):
        return frozenset()
    number = int(address)
    found = {address.ipv4_mapped, address.sixtofour, *(address.teredo or ())} - {None}
    if address in COMPATIBLE or address in TRANSLATED or address in NAT64:
        found.add(IPv4Address(number & 0xFFFFFFFF))
    if address in NAT64_LOCAL:
        found |= _local_nat64(number)
    if (number >> 32) & 0xFFFFFFFF & ~UNIVERSAL == ISATAP:
        found.add(IPv4Address(number & 0xFFFFFFFF))
    return frozenset(one for one in found if one is not None)


def _local_nat64(number: int) -> set[IPv4Address | None]:
    """Return what may be inside by each layout of RFC 6052, 2.2, that fits into the prefix; bits 64 to 71 are empty.

    Which one a site uses its translator alone knows. A layout that finds 0.x has found empty bits.
    """
    without_gap = (number >> 64 << 56) | (number & ((1 << 56) - 1))
    ends = {number, *(without_gap >> (120 - length - 32) for length in (48, 56, 64))}
    found: set[IPv4Address | None] = {IPv4Address(end & 0xFFFFFFFF) for end in ends if end & 0xFF000000}
    return found or {IPv4Address(0)}


def _read(text: str) -> Address:
    if "%" in text:
        raise AddressRefusedError(text, "it has a zone")
    try:
        return ip_address(text)
    except ValueError:
        raise AddressRefusedError(text, "it is no address") from None


def _why_not(
    address: Address, *, allow: Collection[Network], deny: Collection[Network], own: Callable[[Address], bool]
) -> str | None:
    for one in (address, *sorted(inside(address))):
        if _within(one, deny):
            return f"{one} is denied"
        if own(one):
            return f"{one} is the appliance itself"
    if _within(address, allow) or _within(_same_host(address), allow):
        return None
    return "it is not among the addresses that the target allows"


def _same_host(address: Address) -> Address:
    """Return the IPv4 address where the form of an IPv6 one leaves no doubt that its packets end there."""
    if address in MAPPED or address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
