"""This file is the promises of the console's end of tunnels inside WebSockets: public, bounded, and of no use alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType

from gateway.console import nested
from gateway.console.nested import SUBPROTOCOL
from gateway.kit.connector import Connector
from tests.fakes.console import Console, running_console, trust

PATH = "/api/v1/nested"


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


async def opened(stack: AsyncExitStack, console: Console, *, inner: str = "tunnel") -> aiohttp.ClientWebSocketResponse:
    socket = console.http.ws_connect(
        f"{PATH}?inner={inner}", protocols=[SUBPROTOCOL], timeout=aiohttp.ClientWSTimeout(ws_close=1)
    )
    return await stack.enter_async_context(socket)


async def ended(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Wait until the far side has said that no more will come, or is gone."""
    async with asyncio.timeout(5):
        while (said := await socket.receive()).type is WSMsgType.BINARY and said.data:
            pass


async def test_the_api_inside_is_the_api(console: Console) -> None:
    """Two ports and no more can be asked for; over the API's own comes TLS, so plain HTTP is cut off."""
    async with AsyncExitStack() as stack:
        socket = await opened(stack, console, inner="api")
        await socket.send_bytes(b"GET /healthz HTTP/1.1\r\n\r\n")
        await ended(socket)


@pytest.mark.parametrize(
    "query", ["?inner=database", "?inner=", "?inner=api&inner=tunnel", "?host=10.0.0.1", "?port=22"]
)
async def test_nothing_but_the_consoles_own_ports_can_be_asked_for(console: Console, query: str) -> None:
    said = await console.ask("GET", f"{PATH}?{query}", key="")
    assert said.status == 422


async def test_who_asks_for_no_websocket_of_ours_is_told_what_it_is(console: Console) -> None:
    assert (await console.ask("GET", PATH, key="")).status == 426
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await console.http.ws_connect(PATH, protocols=["chat"])
    assert caught.value.status == 426


async def test_bytes_that_are_no_tls_come_to_nothing(console: Console) -> None:
    async with AsyncExitStack() as stack:
        socket = await opened(stack, console)
        await socket.send_bytes(b"let me in")
        await ended(socket)


async def test_what_is_no_bytes_is_cut(console: Console) -> None:
    async with AsyncExitStack() as stack:
        socket = await opened(stack, console)
        await socket.send_str("let me in")
        await ended(socket)


async def test_a_message_over_the_limit_is_cut(console: Console) -> None:
    async with AsyncExitStack() as stack:
        socket = await opened(stack, console)
        await socket.send_bytes(bytes(nested.MESSAGE_LIMIT + 1))
        await ended(socket)


@pytest.mark.attack(13)
async def test_who_says_nothing_is_cut_in_time(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    run = nested._Joined.run

    async def impatient(self: nested._Joined, _first_limit: float) -> None:
        await run(self, 0.1)

    monkeypatch.setattr(nested._Joined, "run", impatient)
    async with AsyncExitStack() as stack:
        await ended(await opened(stack, console))


async def test_a_console_that_stops_says_so_and_waits_for_no_nested_tunnel(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        running = running_console(tmp_path / "console")
        console = await running.__aenter__()
        connector = Connector(trust(console.settings))
        console.http = await stack.enter_async_context(
            aiohttp.ClientSession(console.reached.api, connector=connector)
        )  # one that outlives the console
        socket = await opened(stack, console)
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            group.create_task(ended(socket))
            await running.__aexit__(None, None, None)
        assert loop.time() - began < 4
        assert socket.close_code == WSCloseCode.GOING_AWAY
