"""This file is the promises of the address rules: deny wins, one bad address refuses all, nothing hides in another."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.appliance import reach
from gateway.appliance.reach import DENY, MOST_ADDRESSES, Address, AddressRefusedError, Network, judge

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
SITE = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
WRAPPINGS: dict[str, Callable[[int], int]] = {
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: 0xFFFF << 48 | v4,
    "nat64": lambda v4: 0x64FF9B << 96 | v4,
    "local nat64, 96": lambda v4: 0x64FF9B0001 << 80 | v4,
    "local nat64, 48": lambda v4: 0x64FF9B0001 << 80 | v4 >> 16 << 64 | (v4 & 0xFFFF) << 40,
    "local nat64, 56": lambda v4: 0x64FF9B0001 << 80 | v4 >> 24 << 64 | (v4 & 0xFFFFFF) << 32,
    "local nat64, 64": lambda v4: 0x64FF9B0001 << 80 | v4 << 24,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "teredo client": lambda v4: 0x2001_0000 << 96 | 0x0A000001 << 64 | v4 ^ 0xFFFFFFFF,
    "teredo server": lambda v4: 0x2001_0000 << 96 | v4 << 64 | 0x0A000001 ^ 0xFFFFFFFF,
    "isatap": lambda v4: 0x20010DB8 << 96 | 0x5EFE << 32 | v4,
    "isatap, universal": lambda v4: 0x20010DB8 << 96 | 0x02005EFE << 32 | v4,
}

SAME_HOST = ("mapped", "nat64")
LED_TO_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


def nobody(_address: Address) -> bool:
    return False


def refused(*addresses: str, allow: tuple[Network, ...] = EVERYTHING) -> AddressRefusedError:
    with pytest.raises(AddressRefusedError) as refusal:
        judge(addresses, allow=allow, deny=DENY, own=nobody)
    return refusal.value


def test_an_allowed_address_may_be_dialled() -> None:
    assert judge(["10.0.0.5"], allow=SITE, deny=DENY, own=nobody) == (IPv4Address("10.0.0.5"),)
    assert judge(["2001:db8::5"], allow=SITE, deny=DENY, own=nobody) == (IPv6Address("2001:db8::5"),)


def test_an_address_that_nobody_allowed_is_refused() -> None:
    assert "not among" in refused("192.0.2.1", allow=SITE).why


@pytest.mark.attack(11)
@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - refused, not bound
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "169.254.0.1",
        "192.0.0.192",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "100::1",
    ],
)
def test_what_is_denied_is_denied_whatever_is_allowed(address: str) -> None:
    assert "denied" in refused(address).why


@pytest.mark.attack(10)
@pytest.mark.parametrize(
    "address", ["fe80::1%eth0", "10.0.0.1%0", "10.0.0.1:443", "010.0.0.1", "0x0a000001", "167772161", "10.1", "", "a"]
)
def test_what_is_no_plain_address_is_refused(address: str) -> None:
    assert refused(address).why in {"it has a zone", "it is no address"}


@pytest.mark.attack(11)
@given(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1"]), min_size=0, max_size=6), st.data())
def test_one_bad_address_among_several_refuses_them_all(good: list[str], data: st.DataObject) -> None:
    bad = data.draw(st.sampled_from(["127.0.0.1", "169.254.169.254", "192.0.2.1", "::1", "::ffff:127.0.0.1"]))
    place = data.draw(st.integers(0, len(good)))
    assert refused(*good[:place], bad, *good[place:], allow=SITE).address == str(ip_address(bad))


def test_no_address_and_too_many_are_refused() -> None:
    assert "0 addresses" in refused().why
    assert "addresses" in refused(*["10.0.0.1"] * (MOST_ADDRESSES + 1)).why


@pytest.mark.parametrize("scheme", WRAPPINGS)
@given(st.data())
def test_a_denied_address_hides_in_no_other(scheme: str, data: st.DataObject) -> None:
    network = data.draw(st.sampled_from([one for one in DENY if isinstance(one, IPv4Network)]))
    hidden = data.draw(st.integers(int(network[0]), int(network[-1])))
    if hidden >> 24:  # an empty octet in a local NAT64 prefix is an empty octet
        assert refused(str(IPv6Address(WRAPPINGS[scheme](hidden)))).why


@pytest.mark.parametrize("scheme", WRAPPINGS)
@given(V4)
def test_whatever_is_wrapped_is_found(scheme: str, hidden: IPv4Address) -> None:
    if int(hidden) >> 24:
        assert hidden in reach.inside(IPv6Address(WRAPPINGS[scheme](int(hidden))))


@pytest.mark.parametrize("scheme", SAME_HOST)
def test_an_ipv4_address_that_is_allowed_may_be_reached_through_a_translator(scheme: str) -> None:
    wrapped = IPv6Address(WRAPPINGS[scheme](int(IPv4Address("10.0.0.5"))))
    assert judge([str(wrapped)], allow=SITE, deny=DENY, own=nobody) == (wrapped,)


@pytest.mark.attack(11)
@pytest.mark.parametrize("scheme", [one for one in WRAPPINGS if one not in SAME_HOST])
@given(st.integers(0x0A000000, 0x0A0000FF), st.integers(0, 2**64 - 1))
def test_no_ipv6_address_outside_allow_passes_by_what_it_seems_to_carry(scheme: str, v4: int, front: int) -> None:
    only = (ip_network("10.0.0.0/24"),)
    wrapped = WRAPPINGS[scheme](v4)
    assert refused(str(IPv6Address(wrapped)), allow=only).why
    anywhere = IPv6Address(front << 64 | (wrapped & 0xFFFFFFFFFFFFFFFF))
    if not any(anywhere in network for network in LED_TO_IPV4):
        assert refused(str(anywhere), allow=only).why


@given(st.one_of(V4, V6), st.booleans())
def test_deny_wins_over_allow(address: Address, whole: bool) -> None:
    network = ip_network((address, 0 if whole else address.max_prefixlen), strict=False)
    with pytest.raises(AddressRefusedError):
        judge([str(address)], allow=EVERYTHING, deny=[network], own=nobody)


@given(st.lists(st.one_of(V4, V6), min_size=1, max_size=5))
def test_what_is_returned_is_what_was_judged_and_lies_inside_allow_and_outside_deny(found: list[Address]) -> None:
    try:
        passed = judge([str(one) for one in found], allow=SITE, deny=DENY, own=nobody)
    except AddressRefusedError:
        return
    assert list(passed) == found
    for address in passed:
        faces = {address, *reach.inside(address)}
        assert not any(face in network for face in faces for network in DENY if face.version == network.version)
        ends = faces if any(address in network for network in LED_TO_IPV4) else {address}
        assert any(end in network for end in ends for network in SITE if end.version == network.version)


@given(st.one_of(V4, V6))
def test_an_address_of_the_appliance_itself_is_refused(address: Address) -> None:
    with pytest.raises(AddressRefusedError):
        judge([str(address)], allow=EVERYTHING, deny=(), own=lambda one: one == address)


def test_an_address_of_the_appliance_hides_in_no_other() -> None:
    with pytest.raises(AddressRefusedError) as refusal:
        judge(["::ffff:10.0.0.9"], allow=SITE, deny=DENY, own=lambda one: one == ip_address("10.0.0.9"))
    assert "itself" in refusal.value.why


def test_who_asked_is_not_told_the_address() -> None:
    refusal = refused("169.254.169.254")
    assert "169" not in refusal.message
    assert refusal.facts == {}
    assert (refusal.address, refusal.code) == ("169.254.169.254", "stream.address_refused")
