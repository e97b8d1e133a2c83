"""This file is the promises of resolving and dialling: what is dialled was judged, and every wait has an end."""

import asyncio
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network

import pytest

from gateway.appliance import reach, resolving
from gateway.appliance.reach import AddressRefusedError
from gateway.appliance.resolving import MOST_TRIED, Dialled, Dialler, TargetUnreachableError
from gateway.appliance.targets import Target
from gateway.audit.lines import LONGEST_FACT
from tests.unit.appliance.opening import Lookup, nobody

SITE = ("127.0.0.0/8",)


@asynccontextmanager
async def a_server(address: str = "127.0.0.1") -> AsyncIterator[int]:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, address, 0) as server:
        yield server.sockets[0].getsockname()[1]


async def dial(dialler: Dialler, target: Target, *, within: float) -> Dialled:
    return await dialler.connect(await dialler.judge(target, within=within), target.port, within=within)


def a_dialler(*answer: str) -> Dialler:
    return Dialler(look_up=Lookup([answer]), deny=(), own=nobody)


async def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    async with a_server("127.0.0.3") as port:
        dialled = await dial(a_dialler("127.0.0.3"), Target(host="t", port=port, allow=SITE), within=5)
        with dialled.connection:
            assert dialled.connection.getpeername() == ("127.0.0.3", port)
        assert str(dialled.address) == "127.0.0.3"


async def test_judging_sends_nothing_to_the_target() -> None:
    heard = asyncio.Event()

    async def hear(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        target = Target(host="t", port=server.sockets[0].getsockname()[1], allow=SITE)
        judged = await a_dialler("127.0.0.1").judge(target, within=5)
        await asyncio.sleep(0.05)
        assert not heard.is_set()
        with (await a_dialler().connect(judged, target.port, within=5)).connection:
            async with asyncio.timeout(5):
                await heard.wait()


async def test_all_addresses_are_judged_and_no_more_are_dialled_than_a_line_of_the_log_names() -> None:
    addresses = [f"127.0.0.{number}" for number in range(2, 12)]
    target = Target(host="t", port=1, allow=SITE)
    assert [str(one) for one in await a_dialler(*addresses).judge(target, within=5)] == addresses[:MOST_TRIED]
    with pytest.raises(AddressRefusedError):
        await a_dialler(*addresses, "192.0.2.1").judge(target, within=5)
    assert len(" ".join(["2001:db8:" + ":".join(["ffff"] * 6)] * MOST_TRIED)) <= LONGEST_FACT


async def test_an_address_is_not_looked_up() -> None:
    lookup = Lookup()
    dialler = Dialler(look_up=lookup, deny=(ip_network("10.0.0.0/8"),), own=nobody)
    with pytest.raises(AddressRefusedError):
        await dialler.judge(Target(host="10.0.0.5", port=443), within=5)
    assert lookup.asked == []


async def test_lookups_that_hang_hold_up_no_target_given_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "LOOKUPS", 1)
    gate = threading.Event()

    def hang(_host: str) -> Sequence[str]:
        gate.wait(10)
        return []

    dialler = Dialler(look_up=hang, deny=(ip_network("10.0.0.0/8"),), own=nobody)
    try:
        for _ in range(3):
            with pytest.raises(TargetUnreachableError, match="did not answer"):
                await dialler.judge(Target(host="t", port=443, allow=SITE), within=0.02)
        with pytest.raises(AddressRefusedError):
            await dialler.judge(Target(host="10.0.0.5", port=443), within=5)
        assert await asyncio.to_thread(lambda: True)
    finally:
        gate.set()
        dialler.close()


async def test_a_target_that_takes_no_connection_is_given_up_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        try:
            for one in waiting:  # the queue of a listener that accepts nobody is full after these
                one.settimeout(0)
                one.connect_ex(full.getsockname())
            target = Target(host="t", port=full.getsockname()[1], allow=SITE)
            with pytest.raises(TargetUnreachableError) as refused:
                await dial(a_dialler("127.0.0.1"), target, within=0.1)
        finally:
            for one in waiting:
                one.close()
    assert "127" not in refused.value.message


@pytest.mark.attack(11)
def test_this_machine_knows_its_own_addresses() -> None:
    assert resolving.is_own(ip_address("127.0.0.1"))
    assert resolving.is_own(ip_address("127.0.0.5"))  # an interface may have many, and packets come from its first
    assert not resolving.is_own(ip_address("192.0.2.1"))
    assert not resolving.is_own(ip_address("2001:db8::1"))


@pytest.mark.attack(11)
def test_the_addresses_of_this_machines_interfaces_are_its_own() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no route to anywhere")
        assert resolving.is_own(ip_address(probe.getsockname()[0]))


@pytest.mark.attack(11)
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EACCES, errno.EINVAL])
def test_an_address_of_which_the_system_does_not_tell_whose_it_is_is_refused(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", failing)
    with pytest.raises(AddressRefusedError) as refused:
        reach.judge(["192.0.2.1"], allow=[ip_network("192.0.2.0/24")], deny=(), own=resolving.is_own)
    assert os.strerror(number) in refused.value.why


def test_a_kind_of_address_that_the_system_does_not_have_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(socket, "socket", failing)
    assert not resolving.is_own(ip_address("2001:db8::1"))


def test_a_zone_is_not_lost_on_the_way_to_the_rules() -> None:
    assert resolving._with_zone(("fe80::1", 0, 0, 2)) == "fe80::1%2"
    assert resolving._with_zone(("fe80::1%eth0", 0, 0, 2)) == "fe80::1%eth0"
    assert resolving._with_zone(("2001:db8::1", 0, 0, 0)) == "2001:db8::1"


def test_the_systems_resolver_answers_each_address_once() -> None:
    found = resolving.look_up("localhost")
    assert found
    assert len(set(found)) == len(found)
    assert {ip_address(one) for one in found} <= {ip_address("127.0.0.1"), ip_address("::1")}
