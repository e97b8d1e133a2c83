"""This file is the promises of connections that remember whom they have spoken with."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.appliance.connector import RoadConnector
from gateway.identity import keys, tls
from gateway.identity.authority import Authority
from gateway.kit import files
from gateway.tunnel.roads import Direct

NOW = datetime.now(UTC)  # noqa: TID251 - the TLS library uses the machine's clock


class Turning:
    """A road that leads to one port until it is turned to another."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def connect(self, _host: str, _port: int) -> socket.socket:
        return await Direct().connect("127.0.0.1", self.port)


@asynccontextmanager
async def serving(directory: Path, authority: Authority) -> AsyncIterator[tuple[int, str]]:
    """Serve HTTPS with a key of its own that the authority has signed; yield the port and the key's digest."""
    key = keys.keep(files.make_private_directory(directory) / "server.key")
    (directory / "server.pem").write_text(authority.sign_server(key.public_key(), ["localhost"], now=NOW).pem)
    application = web.Application()
    application.router.add_get("/", _answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        context = tls.server(directory / "server.pem", directory / "server.key")
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1], keys.spki_digest(key.public_key()).hex()
    finally:
        await runner.cleanup()


async def _answer(_request: web.Request) -> web.Response:
    answer = web.Response(text="here")
    answer.force_close()  # each question opens a connection of its own
    return answer


async def asked(session: aiohttp.ClientSession) -> str:
    async with session.get("/") as answer:
        return await answer.text()


@pytest.mark.attack(3)
async def test_the_second_question_goes_to_nobody_but_who_has_answered_the_first(tmp_path: Path) -> None:
    authority = Authority.open(files.make_private_directory(tmp_path / "authority"), now=NOW)
    async with AsyncExitStack() as stack:
        one, key = await stack.enter_async_context(serving(tmp_path / "one", authority))
        other, other_key = await stack.enter_async_context(serving(tmp_path / "other", authority))
        road = Turning(one)
        connector = RoadConnector(tls.client(authority.root), road)
        session = aiohttp.ClientSession("https://localhost", connector=connector)
        await stack.enter_async_context(session)
        assert (await asked(session), connector.key_seen) == ("here", key)
        connector.only_key = connector.key_seen
        assert await asked(session) == "here"
        road.port = other
        with pytest.raises(aiohttp.ClientConnectorError, match="another key"):
            async with asyncio.timeout(20):
                await asked(session)
        assert connector.key_seen == other_key


async def test_without_a_question_before_nobody_is_turned_away(tmp_path: Path) -> None:
    authority = Authority.open(files.make_private_directory(tmp_path / "authority"), now=NOW)
    async with serving(tmp_path / "one", authority) as (one, _), serving(tmp_path / "other", authority) as (other, key):
        road = Turning(one)
        connector = RoadConnector(tls.client(authority.root), road)
        async with aiohttp.ClientSession("https://localhost", connector=connector) as session:
            await asked(session)
            road.port = other
            await asked(session)
        assert connector.key_seen == key
