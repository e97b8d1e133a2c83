"""This file is the promises of the tunnel's port up to TLS: how many open it at a time, and what others feel of it."""

import asyncio
import resource
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.tunnel import door
from gateway.tunnel.acceptor import accepting
from gateway.tunnel.channel import Channel, ChannelClosedError
from gateway.tunnel.dialer import dial
from gateway.tunnel.porch import Porch
from tests.fakes.ends import Ends
from tests.unit.tunnel.sessions import on_every_loop, until

LIMIT = 64 * 1024


async def greet(channel: Channel) -> None:
    await channel.send("welcome")


async def stay(channel: Channel) -> None:
    await channel.send("welcome")
    with suppress(ChannelClosedError):
        await channel.receive()


@asynccontextmanager
async def port(ends: Ends, porch: Porch | None = None) -> AsyncIterator[int]:
    async with accepting("127.0.0.1", 0, tls=ends.server, on_channel=stay, message_limit=LIMIT, porch=porch) as taken:
        yield taken


@asynccontextmanager
async def silent(where: int) -> AsyncIterator[asyncio.StreamReader]:
    """Connect, and do not begin TLS."""
    reader, writer = await asyncio.open_connection("127.0.0.1", where)
    try:
        yield reader
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def break_off(where: int) -> None:
    """Begin TLS, and reset the connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", where)
    writer.write(b"\x16\x03\x01")
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def is_cut(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except OSError:
        return True


async def is_welcome(ends: Ends, where: int) -> bool:
    async with dial(f"wss://127.0.0.1:{where}/", tls=ends.client, message_limit=LIMIT) as channel:
        return await channel.receive() == "welcome"


@pytest.mark.attack(13)
@on_every_loop
async def test_of_those_who_open_tls_a_few_are_let_on_and_the_rest_are_cut_before_it_has_cost_anything(
    ends: Ends,
) -> None:
    porch = Porch(most=3)
    async with port(ends, porch) as where:
        async with silent(where) as one, silent(where) as two, silent(where) as three:
            await until(lambda: porch.opening == 3)
            async with silent(where) as more:
                assert await is_cut(more)
            assert porch.opening == 3
            assert not any(kept.at_eof() for kept in (one, two, three))
        await until(lambda: porch.opening == 0)
        assert await is_welcome(ends, where)
        assert porch.opening == 0


@pytest.mark.attack(13)
def test_one_network_cannot_take_the_whole_porch() -> None:
    porch = Porch(most=10, most_each=3)
    assert [porch.enters("192.0.2.1") for _ in range(4)] == [True, True, True, False]
    assert [porch.enters(f"2001:db8:1:1::{n}") for n in range(1, 5)] == [True, True, True, False]
    assert [porch.enters(f"2001:db8:1:2::{n}") for n in range(1, 3)] == [True, True]
    assert [porch.enters("127.0.0.1") for _ in range(3)] == [True, True, False]
    porch.leaves("192.0.2.1")
    assert porch.enters("::ffff:192.0.2.1")


def test_networks_of_which_nobody_is_left_are_forgotten() -> None:
    porch = Porch(most=1)
    assert porch.enters("192.0.2.1")
    assert not any(porch.enters(f"192.0.2.{n}") for n in range(2, 9))
    porch.leaves("192.0.2.1")
    assert not porch._opening


@on_every_loop
async def test_a_place_on_the_porch_is_free_again_when_tls_fails(ends: Ends) -> None:
    porch = Porch(most=1)
    async with port(ends, porch) as where:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", where)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.read()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            await until(lambda: porch.opening == 0)
        assert await is_welcome(ends, where)


@on_every_loop
async def test_connections_of_others_in_the_same_loop_live_on_while_callers_come_and_go(ends: Ends) -> None:
    """Descriptors' numbers go from a caller to such a connection and back, all the time."""
    done = asyncio.Event()

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            writer.write(await reader.readexactly(5))
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def ask(other: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", other, ssl=ends.client, server_hostname="127.0.0.1")
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def come_and_go(where: int) -> None:
        while not done.is_set():
            assert await is_welcome(ends, where)
            await break_off(where)

    async def asks(other: int) -> None:
        for _ in range(100):
            await ask(other)

    async with port(ends) as where:
        beside = await asyncio.start_server(reply, "127.0.0.1", 0, ssl=ends.open_server)
        async with beside, asyncio.TaskGroup() as calling:
            for _ in range(4):
                calling.create_task(come_and_go(where))
            async with asyncio.TaskGroup() as asking:
                for _ in range(3):
                    asking.create_task(asks(beside.sockets[0].getsockname()[1]))
            done.set()


@on_every_loop
async def test_a_callers_connection_is_what_the_loop_makes_for_a_server_of_its_own(ends: Ends) -> None:
    """Two kinds of transport in one loop would be the fast one for some only."""
    kinds: list[type] = []

    async def look(channel: Channel) -> None:
        kinds.append(type(channel._connection.transport))
        await channel.send("welcome")

    async def looks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kinds.append(type(writer.transport))
        writer.close()

    async with accepting("127.0.0.1", 0, tls=ends.server, on_channel=look, message_limit=LIMIT) as where:
        assert await is_welcome(ends, where)
    async with await asyncio.start_server(looks, "127.0.0.1", 0, ssl=ends.open_server) as server:
        other = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", other, ssl=ends.client, server_hostname="127.0.0.1")
        assert await is_cut(reader)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    assert kinds[0] is kinds[1]


@on_every_loop
async def test_leaving_cuts_who_opens_tls_at_once_and_says_goodbye_to_who_is_in(ends: Ends) -> None:
    async with asyncio.TaskGroup() as group:
        porch = Porch()
        async with port(ends, porch) as where, silent(where) as reader:
            await until(lambda: porch.opening == 1)
            cut = group.create_task(is_cut(reader))
            there = asyncio.Event()

            async def told() -> int | None:
                async with dial(f"wss://127.0.0.1:{where}/", tls=ends.client, message_limit=LIMIT) as channel:
                    await channel.receive()
                    there.set()
                    try:
                        await channel.receive()
                    except ChannelClosedError as fault:
                        return int(str(fault.facts["close_code"]))
                return None

            inside = group.create_task(told())
            await there.wait()
    assert cut.result()
    assert inside.result() == 1001
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", where)


@contextmanager
def no_descriptor_more() -> Iterator[None]:
    """Let this process open nothing while the body runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(int(one.name) for one in Path("/proc/self/fd").iterdir())
    held = [socket.socket() for _ in range(most)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(one.fileno() for one in held) + 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in held:
            one.close()


async def test_a_console_without_a_descriptor_for_a_caller_takes_it_when_it_has_one(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "PAUSE", 0.05)
    async with asyncio.timeout(20), port(ends) as where:
        with socket.socket() as caller, capture_logs() as logs:
            with no_descriptor_more():
                caller.connect(("127.0.0.1", where))
                await until(lambda: logs)
            assert await is_welcome(ends, where)
    assert [one["event"] for one in logs] == ["callers cannot be accepted", "callers are accepted again"]


async def test_an_error_of_whoever_has_opened_the_port_stays_what_it_is(ends: Ends) -> None:
    with pytest.raises(ValueError, match="theirs"):
        async with port(ends):
            raise ValueError("theirs")


async def test_who_cannot_have_the_port_is_told_and_nothing_stays_open(ends: Ends) -> None:
    async with port(ends) as where:
        with pytest.raises(OSError, match="in use"):
            async with accepting("127.0.0.1", where, tls=ends.server, on_channel=greet, message_limit=LIMIT):
                raise AssertionError("two listen on one port")
