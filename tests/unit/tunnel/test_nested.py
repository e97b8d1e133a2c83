"""This file is the promises of the road inside a WebSocket, against a scripted far end."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.identity import tls
from gateway.tunnel import nested
from gateway.tunnel.nested import Nested, OuterNotTrustedError
from gateway.tunnel.proxies import through
from gateway.tunnel.roads import DialError, Direct
from tests.fakes.ends import Ends
from tests.fakes.proxies import Wire, proxy

Script = Callable[[ServerConnection], Awaitable[None]]
MIB = 1024 * 1024


@asynccontextmanager
async def far_end(ends: Ends, script: Script, *, subprotocol: str = nested.SUBPROTOCOL) -> AsyncIterator[str]:
    async def scripted(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await script(connection)

    async with serve(
        scripted,
        "127.0.0.1",
        0,
        ssl=ends.open_server,
        subprotocols=[subprotocol],  # type: ignore[list-item]
        compression=None,
        max_size=MIB,
        close_timeout=0.2,
    ) as server:
        yield f"wss://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/api/v1/nested"


async def echo(connection: ServerConnection) -> None:
    while piece := await connection.recv():
        await connection.send(piece)
    await connection.send(b"")
    await connection.wait_closed()


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    return Ends(tmp_path)


def road(ends: Ends, url: str) -> Nested:
    return Nested(url, tls.outward(ends.authority.root), Direct())


async def read_all(connected: socket.socket, size: int) -> bytes:
    loop, taken = asyncio.get_running_loop(), bytearray()
    while len(taken) < size:
        piece = await loop.sock_recv(connected, 65536)
        if not piece:
            break
        taken += piece
    return bytes(taken)


async def test_bytes_go_there_and_back_whole_and_in_order(ends: Ends) -> None:
    loop, words = asyncio.get_running_loop(), bytes(range(256)) * 4096 * 4
    async with far_end(ends, echo) as url, road(ends, url) as way:
        with await way.connect("console.example", 8444) as connected:
            async with asyncio.TaskGroup() as group:
                group.create_task(loop.sock_sendall(connected, words))
                back = group.create_task(read_all(connected, len(words)))
            assert back.result() == words


async def test_half_a_close_goes_there_and_the_other_half_comes_back(ends: Ends) -> None:
    heard = bytearray()

    async def answers_after_the_end(connection: ServerConnection) -> None:
        while piece := await connection.recv():
            heard.extend(piece)  # type: ignore[arg-type]
        await connection.send(b"all heard")
        await connection.send(b"")
        await connection.wait_closed()

    async with far_end(ends, answers_after_the_end) as url, road(ends, url) as way:
        with await way.connect("console.example", 8444) as connected:
            await asyncio.get_running_loop().sock_sendall(connected, b"question")
            connected.shutdown(socket.SHUT_WR)
            assert await read_all(connected, 100) == b"all heard"
    assert heard == b"question"


async def test_the_far_end_may_be_the_first_to_have_nothing_more_to_say(ends: Ends) -> None:
    heard, loop = bytearray(), asyncio.get_running_loop()

    async def ends_first(connection: ServerConnection) -> None:
        await connection.send(b"that is all")
        await connection.send(b"")
        while piece := await connection.recv():
            heard.extend(piece)  # type: ignore[arg-type]
        await connection.wait_closed()

    async with far_end(ends, ends_first) as url, road(ends, url) as way:
        with await way.connect("console.example", 8444) as connected:
            async with asyncio.timeout(5):
                assert await read_all(connected, 100) == b"that is all"
                await loop.sock_sendall(connected, b"not for us")
    assert heard == b"not for us"


async def test_a_far_end_that_goes_is_seen_as_the_end(ends: Ends) -> None:
    async def goes(connection: ServerConnection) -> None:
        await connection.close(1001)

    async with far_end(ends, goes) as url, road(ends, url) as way:
        with await way.connect("console.example", 8444) as connected, suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                assert await read_all(connected, 1) == b""


async def test_who_closes_the_socket_closes_the_websocket(ends: Ends) -> None:
    gone = asyncio.Event()

    async def waits(connection: ServerConnection) -> None:
        while await connection.recv():
            pass
        await connection.send(b"")
        await connection.wait_closed()
        gone.set()

    async with far_end(ends, waits) as url, road(ends, url) as way:
        (await way.connect("console.example", 8444)).close()
        async with asyncio.timeout(5):
            await gone.wait()


async def test_a_far_end_that_reads_nothing_stops_us_and_fills_no_memory(ends: Ends) -> None:
    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await over.wait()
        connection.transport.abort()

    loop, sent, over = asyncio.get_running_loop(), 0, asyncio.Event()
    async with far_end(ends, deaf) as url, road(ends, url) as way:
        with await way.connect("console.example", 8444) as connected, suppress(TimeoutError):
            while sent < 64 * MIB:
                async with asyncio.timeout(0.5):
                    await loop.sock_sendall(connected, bytes(64 * 1024))
                sent += 64 * 1024
        over.set()
    assert sent < 24 * MIB  # the kernel's own buffers on the way take some


async def test_a_socket_that_nobody_reads_stops_the_far_end(ends: Ends) -> None:
    sent = 0

    async def pours(connection: ServerConnection) -> None:
        nonlocal sent
        while sent < 64 * MIB:
            async with asyncio.timeout(0.5):
                await connection.send(bytes(64 * 1024))
            sent += 64 * 1024

    async with far_end(ends, pours) as url, road(ends, url) as way:
        with await way.connect("console.example", 8444):
            await asyncio.sleep(0.7)
    assert sent < 24 * MIB


async def test_leaving_the_road_cuts_what_is_on_it(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested, "LEAVE", 0.05)
    async with far_end(ends, echo) as url:
        async with road(ends, url) as way:
            connected = await way.connect("console.example", 8444)
        with connected, suppress(ConnectionResetError):
            assert await read_all(connected, 1) == b""
        with pytest.raises(DialError, match="closed meanwhile"):
            await way.connect("console.example", 8444)


async def test_an_error_of_whoever_uses_the_road_is_not_wrapped(ends: Ends) -> None:
    with pytest.raises(LookupError):
        async with far_end(ends, echo) as url, road(ends, url):
            raise LookupError


@pytest.mark.parametrize("turns", [*range(0, 40, 3), 60, 100, 200])
async def test_who_is_cancelled_at_any_moment_leaves_nothing_open(ends: Ends, turns: int) -> None:
    """Warnings are errors: a socket that is left open fails this test."""

    async def use(url: str) -> None:
        async with road(ends, url) as way:
            with await way.connect("console.example", 8444) as connected:
                await asyncio.get_running_loop().sock_sendall(connected, b"hello")
                await read_all(connected, 100)

    async with far_end(ends, echo) as url, asyncio.TaskGroup() as group:
        task = group.create_task(use(url))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) < 10
    gc.collect()


@pytest.mark.attack(9)
async def test_who_speaks_another_subprotocol_is_not_spoken_to(ends: Ends) -> None:
    async with far_end(ends, echo, subprotocol="pcg.other.v1") as url, road(ends, url) as way:
        with pytest.raises(DialError):
            await way.connect("console.example", 8444)


async def test_an_outer_certificate_of_nobody_we_know_is_refused_with_a_way_out(ends: Ends) -> None:
    async with far_end(ends, echo) as url, Nested(url, tls.outward(""), Direct()) as way:
        with pytest.raises(OuterNotTrustedError, match="outer_trust"):
            await way.connect("console.example", 8444)


async def test_the_outer_connection_goes_through_a_proxy_too(ends: Ends) -> None:
    wire = Wire()
    async with far_end(ends, echo) as url, proxy(wire=wire) as address:
        outer = tls.outward(ends.authority.root)
        async with Nested(url, outer, through(address)) as way:
            connected = await way.connect("console.example", 8444)
            with connected:
                await asyncio.get_running_loop().sock_sendall(connected, b"hello")
                assert await read_all(connected, 5) == b"hello"
    assert wire.carried > 0
