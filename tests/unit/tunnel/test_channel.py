"""This file is the promises of the command channel, over real mutual TLS on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.identity import authority, tls
from gateway.tunnel.acceptor import accepting
from gateway.tunnel.channel import Channel, ChannelClosedError
from gateway.tunnel.dialer import ConsoleNotTrustedError, DialError, dial
from tests.fakes.ends import Ends

LIMIT = 64 * 1024


@asynccontextmanager
async def console(ends: Ends, on_channel: Callable[[Channel], Awaitable[None]]) -> AsyncIterator[str]:
    async with accepting("127.0.0.1", 0, tls=ends.server, on_channel=on_channel, message_limit=LIMIT) as port:
        yield f"wss://127.0.0.1:{port}/"


async def echo(channel: Channel) -> None:
    try:
        while True:
            await channel.send(await channel.receive())
    except ChannelClosedError:
        return


async def test_a_message_comes_back_whole(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    async with console(ends, echo) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        await channel.send("žluťoučký" * 1000)
        assert await channel.receive() == "žluťoučký" * 1000


async def test_the_console_sees_which_gateway_calls(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    seen: list[bytes] = []

    async def look(channel: Channel) -> None:
        seen.append(channel.peer_certificate)
        await channel.send("seen")

    async with console(ends, look) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        await channel.receive()
    assert authority.gateway_of(seen[0])[0] == ends.gateway


async def test_who_shows_no_certificate_is_not_let_in(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    nobody = tls.client(ends.authority.root)
    async with console(ends, echo) as url:
        with pytest.raises((DialError, ChannelClosedError)):
            async with dial(url, tls=nobody, message_limit=LIMIT) as channel:
                await channel.receive()


async def test_another_authoritys_console_is_not_trusted(tmp_path: Path) -> None:
    ends, other = Ends(tmp_path), Ends(tmp_path / "other")
    async with console(other, echo) as url:
        with pytest.raises(ConsoleNotTrustedError):
            async with dial(url, tls=ends.client, message_limit=LIMIT):
                pass


async def test_a_message_over_the_limit_ends_the_connection_and_says_so(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    async with console(ends, echo) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        await channel.send("x" * (LIMIT + 1))
        with pytest.raises(ChannelClosedError) as caught:
            await channel.receive()
    assert caught.value.facts["close_code"] == 1009


async def test_nobody_listening_is_a_dial_error(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    async with console(ends, echo) as url:
        pass
    with pytest.raises(DialError):
        async with dial(url, tls=ends.client, message_limit=LIMIT):
            pass


async def test_an_idle_healthy_peer_is_not_cut(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    async with console(ends, echo) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        impatient = Channel(channel._connection, quiet=0.05, dead=1.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await impatient.receive()


async def test_a_silent_peer_is_declared_dead(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    async with console(ends, echo) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        channel._connection.transport.pause_reading()  # type: ignore[attr-defined] # a link that delivers nothing
        impatient = Channel(channel._connection, quiet=0.05, dead=0.2)
        with pytest.raises(ChannelClosedError):
            async with asyncio.timeout(20):
                await impatient.receive()


async def send_for_ever(channel: Channel) -> None:
    while True:
        await channel.send("x" * LIMIT)


async def test_closing_against_a_peer_that_does_not_read_ends_within_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.tunnel.channel.CLOSE_LIMIT", 0.1)
    ends, over = Ends(tmp_path), asyncio.Event()

    async def deaf(channel: Channel) -> None:
        channel._connection.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()
        channel._connection.transport.abort()

    async with console(ends, deaf) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        channel._connection.close_timeout = 60  # the library's own patience shall not save us
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # fill every buffer on the way: not even the good-bye gets out
                await send_for_ever(channel)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await channel.close()
        assert loop.time() - began < 10
        over.set()


async def test_who_is_cancelled_while_closing_leaves_no_connection(tmp_path: Path) -> None:
    ends, over = Ends(tmp_path), asyncio.Event()

    async def deaf(channel: Channel) -> None:
        channel._connection.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()
        channel._connection.transport.abort()

    async with console(ends, deaf) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        channel._connection.close_timeout = 60  # the library's own patience shall not save us
        async with asyncio.TaskGroup() as group:
            closing = group.create_task(channel.close())
            await asyncio.sleep(0.05)
            closing.cancel()
        try:
            async with asyncio.timeout(10):
                await channel._connection.wait_closed()
        finally:
            over.set()


async def test_a_message_nobody_takes_is_given_up_and_the_channel_with_it(tmp_path: Path) -> None:
    ends, over = Ends(tmp_path), asyncio.Event()

    async def deaf(channel: Channel) -> None:
        channel._connection.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()
        channel._connection.transport.abort()

    async with console(ends, deaf) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        impatient = Channel(channel._connection, quiet=0.05, dead=0.1)
        with pytest.raises(ChannelClosedError, match="takes no data"):
            async with asyncio.timeout(20):
                await send_for_ever(impatient)
        with pytest.raises(ChannelClosedError):
            await impatient.receive()
        over.set()


async def test_a_peer_that_dies_right_after_a_pong_is_noticed_in_time(tmp_path: Path) -> None:
    """An old answer is no sign of life for ever: from the last one the limit runs anew, and only from it."""
    quiet, dead = 0.05, 1.0
    ends = Ends(tmp_path)
    loop = asyncio.get_running_loop()
    async with console(ends, echo) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        connection = channel._connection
        impatient = Channel(connection, quiet=quiet, dead=dead)
        died = 0.0
        ping = connection.ping

        async def answered_once_more() -> object:
            nonlocal died
            answer = await ping()

            def die(_: object) -> None:
                nonlocal died
                if not died:
                    died = loop.time()
                    connection.transport.pause_reading()  # type: ignore[attr-defined]

            answer.add_done_callback(die)  # type: ignore[attr-defined]
            return answer

        connection.ping = answered_once_more  # type: ignore[assignment,method-assign]
        with pytest.raises(ChannelClosedError, match="silent"):
            async with asyncio.timeout(20):
                await impatient.receive()
        noticed = loop.time() - died
    assert died
    assert dead - quiet <= noticed <= dead + 2 * quiet + 0.7


async def test_a_peer_that_answers_only_with_messages_is_alive(tmp_path: Path) -> None:
    ends = Ends(tmp_path)

    async def talk(channel: Channel) -> None:
        for number in range(8):
            await channel.send(str(number))
            await asyncio.sleep(0.2)

    async with console(ends, talk) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        impatient = Channel(channel._connection, quiet=0.05, dead=1.0)
        assert [await impatient.receive() for _ in range(8)] == [str(number) for number in range(8)]


async def test_a_channel_may_be_closed_twice_and_by_both(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    async with console(ends, echo) as url, dial(url, tls=ends.client, message_limit=LIMIT) as channel:
        await channel.close(code=1000, reason="bye")
        await channel.close()
        with pytest.raises(ChannelClosedError):
            await channel.send("too late")
