"""This file is the promises of the tunnel's port to everybody when one caller takes more than its part."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.tunnel import acceptor
from gateway.tunnel.acceptor import MOST_OF_ONE, Lobby, accepting
from gateway.tunnel.channel import Channel
from gateway.tunnel.dialer import dial
from tests.fakes.ends import Ends

LIMIT = 64 * 1024


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    return Ends(tmp_path)


async def greet(channel: Channel) -> None:
    await channel.send("welcome")


@asynccontextmanager
async def port(ends: Ends, lobby: Lobby | None = None) -> AsyncIterator[int]:
    async with accepting("127.0.0.1", 0, tls=ends.server, on_channel=greet, message_limit=LIMIT, lobby=lobby) as taken:
        yield taken


async def idle(stack: AsyncExitStack, ends: Ends, port: int) -> asyncio.StreamReader:
    """Open TLS with a good certificate, and say nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ends.client, server_hostname="127.0.0.1")

    async def cut() -> None:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

    stack.push_async_callback(cut)
    return reader


async def is_cut(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(5):
        try:
            return await reader.read() == b""
        except OSError:
            return True


@pytest.mark.attack(13)
async def test_of_one_certificate_a_few_may_wait_and_the_rest_are_cut(ends: Ends) -> None:
    lobby = Lobby()
    async with AsyncExitStack() as stack:
        where = await stack.enter_async_context(port(ends, lobby))
        kept = [await idle(stack, ends, where) for _ in range(MOST_OF_ONE)]
        for _ in range(3):
            assert await is_cut(await idle(stack, ends, where))
        assert not any(one.at_eof() for one in kept)
        assert len(lobby._waiting) == MOST_OF_ONE


def test_who_waits_with_one_certificate_takes_no_place_of_another() -> None:
    lobby = Lobby(most=MOST_OF_ONE)
    callers = [object() for _ in range(MOST_OF_ONE + 2)]
    let_in = [lobby.enters(one, b"a", 0.0) for one in callers[:-1]]  # type: ignore[arg-type] # any object will do
    assert let_in == [True] * MOST_OF_ONE + [False]
    assert lobby.wait() is None
    assert lobby.enters(callers[-1], b"b", 0.0)  # type: ignore[arg-type]
    for one in callers:
        lobby.leaves(one)  # type: ignore[arg-type]
    assert not lobby._each
    assert lobby.enters(callers[0], b"a", 0.0)  # type: ignore[arg-type]


async def test_a_place_is_free_again_when_its_caller_has_gone(ends: Ends) -> None:
    async with port(ends) as where:
        for _ in range(2):
            async with AsyncExitStack() as stack:
                for _ in range(MOST_OF_ONE):
                    await idle(stack, ends, where)
        async with dial(f"wss://127.0.0.1:{where}/", tls=ends.client, message_limit=LIMIT) as channel:
            assert await channel.receive() == "welcome"


@pytest.mark.attack(13)
async def test_who_does_not_open_tls_is_given_up(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "HANDSHAKE_LIMIT", 0.2)
    async with port(ends) as where:
        reader, writer = await asyncio.open_connection("127.0.0.1", where)
        try:
            assert await is_cut(reader)
        finally:
            writer.close()
            await writer.wait_closed()


async def test_it_is_told_where_a_caller_with_a_good_certificate_calls_from(ends: Ends) -> None:
    told: list[tuple[str, int]] = []
    async with AsyncExitStack() as stack:
        where = await stack.enter_async_context(port(ends, Lobby(on_caller=told.append)))
        await idle(stack, ends, where)
        async with asyncio.timeout(5):
            while not told:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert told[0][0] == "127.0.0.1"
