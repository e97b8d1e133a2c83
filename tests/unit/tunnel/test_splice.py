"""This file is the promises of a stream that is joined with a TCP connection, over real TLS and on every event loop."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.tunnel.frames import Reset
from gateway.tunnel.limits import KIB, MIB
from gateway.tunnel.session import Session
from gateway.tunnel.splice import Counts, join, splice
from gateway.tunnel.stream import Stream
from tests.fakes.ends import Ends
from tests.unit.tunnel.sessions import joined, on_every_loop, read_to_end, until

OnConnection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


class Spliced:
    """A session whose streams lead to a target, and what came of each splice."""

    def __init__(self, session: Session, other: Session) -> None:
        self.session = session
        self.other = other
        self.counts: asyncio.Queue[Counts] = asyncio.Queue()


@asynccontextmanager
async def spliced(ends: Ends, target: OnConnection) -> AsyncIterator[Spliced]:
    made: list[Spliced] = []
    over: asyncio.Queue[Counts] = asyncio.Queue()

    async def serve(stream: Stream, _: bytes) -> None:
        connected = socket.create_connection(("127.0.0.1", port))
        connected.setblocking(False)
        stream.answer(b"")
        over.put_nowait(await splice(stream, connected))

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await target(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        async with joined(ends, on_stream=serve) as (session, other):
            made.append(Spliced(session, other))
            made[0].counts = over
            yield made[0]
        await asyncio.sleep(0.05)


@on_every_loop
async def test_bulk_goes_both_ways_at_once_and_comes_back_whole(ends: Ends) -> None:
    sent = os.urandom(8 * MIB)
    async with spliced(ends, echo) as end:
        stream, _ = await end.session.open(b"")

        async def send() -> None:
            await stream.write(sent)
            stream.end()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            assert await read_to_end(stream) == sent
        assert await end.counts.get() == Counts(len(sent), len(sent), None)
        await until(lambda: end.other.mux.streams == 0)


@on_every_loop
async def test_a_target_that_ends_first_still_gets_what_is_sent(ends: Ends) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def ends_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"greeting")
        writer.write_eof()
        got.put_nowait(await reader.read(-1))

    async with spliced(ends, ends_first) as end:
        stream, _ = await end.session.open(b"")
        assert await read_to_end(stream) == b"greeting"
        await stream.write(b"late " * 100_000)
        stream.end()
        assert await got.get() == b"late " * 100_000
        assert (await end.counts.get()).fault is None


@on_every_loop
async def test_a_target_that_resets_cuts_the_stream_and_no_other(ends: Ends) -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1) == b"x":
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )
            writer.transport.abort()
        else:
            await echo(reader, writer)

    async with spliced(ends, resets) as end:
        cut, _ = await end.session.open(b"")
        other, _ = await end.session.open(b"")
        await cut.write(b"x")
        await until(lambda: cut.fault)
        assert (await end.counts.get()).fault
        await other.write(b"still there")
        other.end()
        assert await read_to_end(other) == b"till there"


@on_every_loop
async def test_a_stream_that_is_reset_cuts_the_connection_to_the_target(ends: Ends) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.put_nowait("ended" if not await reader.read(1) else "data")
        except ConnectionResetError:
            seen.put_nowait("reset")

    async with spliced(ends, look) as end:
        stream, _ = await end.session.open(b"")
        stream.reset(Reset.CANCELLED)
        assert await seen.get() == "reset"
        assert (await end.counts.get()).fault


@on_every_loop
async def test_a_session_that_is_lost_cuts_the_connection_to_the_target(ends: Ends) -> None:
    seen: asyncio.Queue[bool] = asyncio.Queue()

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(-1)
        finally:
            seen.put_nowait(True)

    async with spliced(ends, look) as end:
        await end.session.open(b"")
        end.session.carrier.abort()
        assert await seen.get()


@on_every_loop
async def test_a_target_that_does_not_read_holds_back_its_own_sender_and_no_other(ends: Ends) -> None:
    awake, conversations = asyncio.Event(), iter(("rests", "goes"))

    async def rest_or_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if next(conversations) == "rests":
            await awake.wait()
        await echo(reader, writer)

    async with spliced(ends, rest_or_echo) as end:
        rests, _ = await end.session.open(b"")
        goes, _ = await end.session.open(b"")
        rests.offer(b"r" * 24 * MIB)
        await goes.write(b"g" * MIB)
        goes.end()
        assert await read_to_end(goes) == b"g" * MIB
        await asyncio.sleep(0.2)
        assert end.other.mux.held <= 4 * MIB
        assert end.session.mux.queued(rests.id) > 8 * MIB
        rests.reset()
        awake.set()


@on_every_loop
async def test_a_splice_that_is_cancelled_leaves_neither_stream_nor_socket(ends: Ends) -> None:
    tasks: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async def serve(stream: Stream, _: bytes) -> None:
        stream.answer(b"")
        near, far = socket.socketpair()
        near.setblocking(False)
        with far:
            tasks.put_nowait(asyncio.current_task())  # type: ignore[arg-type]
            await splice(stream, near)

    async with joined(ends, on_stream=serve) as (session, other):
        for pause in (0.0, 0.02):
            stream, _ = await session.open(b"")
            task = await tasks.get()
            await asyncio.sleep(pause)
            task.cancel()
            await until(lambda stream=stream: stream.fault)  # type: ignore[misc]
            await until(lambda: other.streams == 0)


@on_every_loop
async def test_two_streams_that_are_joined_pass_on_bytes_ends_and_resets(ends: Ends) -> None:
    inner: list[Session] = []

    async def echo_stream(stream: Stream, _: bytes) -> None:
        stream.answer(b"")
        while piece := await stream.read():
            await stream.write(piece)
        stream.end()

    async def relay(stream: Stream, _: bytes) -> None:
        onward, reply = await inner[0].open(b"")
        stream.answer(reply)
        await join(stream, onward)

    async with joined(ends, on_stream=echo_stream) as (far, _), joined(ends, on_stream=relay) as (near, _middle):
        inner.append(far)
        stream, _reply = await near.open(b"")
        sent = os.urandom(3 * MIB)

        async def send() -> None:
            for at in range(0, len(sent), 100 * KIB):
                await stream.write(sent[at : at + 100 * KIB])
            stream.end()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            assert await read_to_end(stream) == sent
        cut, _reply = await near.open(b"")
        cut.reset(Reset.IDLE)
        await until(lambda: far.streams == 0)
