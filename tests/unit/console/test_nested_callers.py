"""This file is who calls from inside a WebSocket: known by the address outside, and not pushed out by nobodies."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
import pytest

from gateway.appliance.outward import nested_url
from gateway.console import daemon, nested
from gateway.console.nested import SUBPROTOCOL, Nested, TooManyNestedError, network_of
from gateway.tunnel import nested as far
from gateway.tunnel.dataline import dial_data
from gateway.tunnel.roads import DialError, Direct, Road
from gateway.tunnel.session import Session
from tests.fakes.console import Console, paired_appliance, trust
from tests.fakes.targets import data_of, reach


class FromElsewhere:
    """A road that begins at another address of this machine."""

    async def connect(self, _host: str, port: int) -> socket.socket:
        connection = socket.socket()
        connection.bind(("127.0.0.2", 0))
        connection.settimeout(0)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        return connection


def inside(console: Console, inner: str, road: Road | None = None) -> far.Nested:
    return far.Nested(nested_url(console.reached.api, inner=inner), trust(console.settings), road or Direct())


@asynccontextmanager
async def asked(console: Console, road: Road, path: str = "tunnel") -> AsyncIterator[Session]:
    """Ask the API for a WebSocket, with a key, over a road."""
    url = console.reached.api.replace("https://", "wss://") + f"/api/v1/{path}"
    headers = {"Authorization": f"Bearer {console.key}"}
    async with dial_data(url, tls=trust(console.settings), headers=headers, road=road) as session:
        yield session


@pytest.mark.attack(18)
async def test_who_comes_inside_a_websocket_is_audited_with_the_address_outside(console: Console) -> None:
    async with inside(console, "api", FromElsewhere()) as road, asked(console, road) as session:
        await reach(session)

    (entry,) = (await console.ask("GET", "/api/v1/audit")).body["items"]
    assert entry["facts"]["address"] == "127.0.0.2"


@pytest.mark.attack(18)
@pytest.mark.parametrize("path", ["nested?inner=api", "nested", "echo"])
async def test_there_is_no_further_inside(console: Console, path: str) -> None:
    async with inside(console, "api") as road:
        with pytest.raises(DialError, match="409"):
            async with asked(console, road, path):
                pass


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "Nested", partial(Nested, unproven_each=1))


@pytest.mark.attack(13)
@pytest.mark.usefixtures("narrow")
async def test_who_has_shown_a_certificate_or_a_key_takes_no_place_of_those_who_have_not(console: Console) -> None:
    data = await data_of(await paired_appliance(console))
    url = f"{data.appliance.paired.tunnel}?session={data.id}"
    async with AsyncExitStack() as stack:
        tunnels = await stack.enter_async_context(inside(console, "tunnel"))
        api = await stack.enter_async_context(inside(console, "api"))
        await stack.enter_async_context(dial_data(url, tls=data.appliance.tls, road=tunnels))
        await stack.enter_async_context(asked(console, api))
        await stack.enter_async_context(dial_data(url, tls=data.appliance.tls, road=tunnels))
        nobody = console.http.ws_connect("/api/v1/nested", protocols=[SUBPROTOCOL])
        await stack.enter_async_context(nobody)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await console.http.ws_connect("/api/v1/nested", protocols=[SUBPROTOCOL])


@pytest.mark.attack(13)
async def test_who_speaks_and_shows_nothing_is_cut_in_time(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested, "PROOF_LIMIT", 0.3)
    async with console.http.ws_connect("/api/v1/nested", protocols=[SUBPROTOCOL]) as socket:
        await socket.send_bytes(b"\x16\x03\x01\x02\x00")  # a ClientHello that never ends
        async with asyncio.timeout(5):
            while (await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                pass


async def test_who_has_shown_who_it_is_may_stay(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested, "PROOF_LIMIT", 0.5)
    async with inside(console, "api") as road, asked(console, road) as session:
        await asyncio.sleep(0.7)
        _, reply = await reach(session)
        assert reply.code == "gateway.unknown"


def test_there_are_so_many_and_no_more_by_what_is_wanted() -> None:
    doors = Nested(most={"tunnel": 2, "api": 1})
    with doors.seat("a", "tunnel"), doors.seat("a", "tunnel"):
        with pytest.raises(TooManyNestedError), doors.seat("b", "tunnel"):
            pass
        with doors.seat("b", "api"), pytest.raises(TooManyNestedError), doors.seat("b", "api"):
            pass
    with doors.seat("b", "tunnel"):
        pass


def test_of_those_who_have_shown_nothing_there_are_few_and_of_one_network_fewer() -> None:
    doors = Nested(unproven=2, unproven_each=1)
    with doors.seat("2001:db8::1", "tunnel"):
        with pytest.raises(TooManyNestedError), doors.seat("2001:db8::2", "api"):
            pass
        with doors.seat("10.0.0.1", "tunnel"), pytest.raises(TooManyNestedError), doors.seat("10.0.0.2", "tunnel"):
            pass
    with doors.seat("2001:db8::2", "tunnel"):
        pass


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:1:ffff::1", "2001:db8:0:1::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_one_customer_of_a_provider_is_one_caller(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_port_that_was_a_callers_is_not_forgotten_when_it_is_anothers() -> None:
    doors = Nested()
    with doors.seat("10.0.0.1", "api") as older, doors.seat("10.0.0.2", "api") as newer:
        doors._inside["127.0.0.1", 4000] = newer
        doors._forget(("127.0.0.1", 4000), older)
        assert doors.outside(("127.0.0.1", 4000)) == "10.0.0.2"
        doors._forget(("127.0.0.1", 4000), newer)
        assert doors.outside(("127.0.0.1", 4000)) is None
