"""This file is a data session on a bad line: who is silent is given up in time, who is slow never is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.tunnel.dataline import dial_data
from gateway.tunnel.roads import DialError, Direct
from gateway.tunnel.session import SessionClosedError
from tests.fakes.ends import Ends
from tests.unit.tunnel.sessions import console, echo, joined, on_every_loop, read_to_end, until

QUIET, DEAD = 0.2, 0.6
"""Seconds; a seventy-fifth of what they are in earnest."""


class Line:
    """A relay between the two ends that can be cut without a word, or made to drip towards the dialler."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self.open = asyncio.Event()
        self.open.set()
        self.drop = 65536
        self.pause = 0.0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", self._to, limit=4096)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, onward, drips=False))
                group.create_task(self._pump(there, writer, drips=True))
        except* ConnectionError:
            pass
        finally:
            for end in (writer, onward):
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, drips: bool) -> None:
        while piece := await reader.read(self.drop if drips else 65536):
            await asyncio.sleep(self.pause if drips else 0.0)
            await self.open.wait()
            writer.write(piece)
            await writer.drain()
        raise ConnectionResetError


@asynccontextmanager
async def on_a_line(port: int) -> AsyncIterator[Line]:
    line = Line(port)
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0, limit=4096)
    async with server:
        line.port = server.sockets[0].getsockname()[1]
        yield line
        line.open.set()
        await asyncio.sleep(0.05)


@pytest.mark.attack(31)
async def test_a_peer_that_goes_silent_is_given_up_within_the_limit(ends: Ends) -> None:
    async with asyncio.timeout(30), console(ends, on_stream=echo) as end, on_a_line(end.port) as line:
        url = f"wss://127.0.0.1:{line.port}/"
        async with dial_data(url, tls=ends.client, quiet=QUIET, dead=DEAD) as session:
            stream, _ = await session.open(b"")
            line.open.clear()
            loop = asyncio.get_running_loop()
            began = loop.time()
            with pytest.raises(SessionClosedError, match="silent"):
                await stream.read()
            assert DEAD - QUIET <= loop.time() - began <= DEAD + 2 * QUIET + 1.0


@pytest.mark.attack(31)
async def test_an_idle_line_is_kept_and_used_again(ends: Ends) -> None:
    async with asyncio.timeout(30), joined(ends, on_stream=echo, quiet=QUIET, dead=DEAD) as (session, _):
        stream, _reply = await session.open(b"")
        await asyncio.sleep(4 * DEAD)
        await stream.write(b"still there")
        assert bytes(await stream.read()) == b"still there"


@pytest.mark.attack(31)
async def test_a_line_that_delivers_drop_by_drop_is_never_cut(ends: Ends) -> None:
    """One message takes longer than a peer may be silent, and the answer to each question comes behind it."""
    async with asyncio.timeout(60), console(ends, on_stream=echo) as end, on_a_line(end.port) as line:
        url = f"wss://127.0.0.1:{line.port}/"
        async with dial_data(url, tls=ends.client, quiet=QUIET, dead=DEAD) as session:
            stream, _ = await session.open(b"")
            line.drop, line.pause = 2048, 0.03  # 68 kB a second at the most: a message takes longer than DEAD
            stream.offer(b"x" * 250_000)
            await asyncio.sleep(5 * DEAD)
            assert not session._over.done()
            line.drop, line.pause = 65536, 0.0
            stream.end()
            assert len(await read_to_end(stream)) == 250_000


@on_every_loop
async def test_who_is_cancelled_while_dialling_leaves_nothing(ends: Ends) -> None:
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(writer)

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]

        async def dial() -> None:
            async with dial_data(f"wss://127.0.0.1:{port}/", tls=ends.client):
                raise AssertionError("nobody has answered")

        async with asyncio.TaskGroup() as group:
            dialling = group.create_task(dial())
            writer = await accepted.get()
            await asyncio.sleep(0.02)
            dialling.cancel()
        writer.transport.abort()
        await asyncio.sleep(0.02)


@on_every_loop
async def test_nobody_at_the_other_end_is_a_dial_error(ends: Ends) -> None:
    async with console(ends) as end:
        pass
    with pytest.raises(DialError):
        async with dial_data(end.url, tls=ends.client, road=Direct()):
            pass


@on_every_loop
async def test_a_console_that_stops_ends_its_sessions_and_their_streams(ends: Ends) -> None:
    async with console(ends, on_stream=echo) as end:
        async with dial_data(end.url, tls=ends.client) as session:
            stream, _ = await session.open(b"")
            (await end.sessions.get()).carrier.abort()
            with pytest.raises(SessionClosedError):
                await stream.read()
        await until(lambda: session.streams == 0)
