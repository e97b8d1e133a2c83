"""This file is what shows only after a while: streams that never pause, roads that stay full, late cuts."""

import asyncio
import socket

import pytest

from gateway.tunnel import frames
from gateway.tunnel.frames import ACK, DATA, HEADER, PING, SYN, WINDOW
from gateway.tunnel.mux import Mux
from gateway.tunnel.pace import Pace
from gateway.tunnel.schedule import Lane
from gateway.tunnel.splice import join, splice
from gateway.tunnel.stream import Stream
from tests.fakes.wire import wired

MIB = 1024 * 1024


def taken(mux: Mux, now: float) -> list[tuple[int, int]]:
    """Send, answer each PING, and return (stream, bytes) of the DATA frames."""
    sent = []
    wire = b"".join(mux.take(64 * 1024, now)[0])
    at = 0
    while at < len(wire):
        _, kind, flags, stream, length = HEADER.unpack_from(wire, at)
        at += HEADER.size
        if kind == DATA:
            sent.append((stream, length))
            at += length
        elif kind == PING and flags & SYN:
            mux.receive(frames.pack(PING, ACK, 0, length), now)
    return sent


def test_a_stream_whose_queue_is_never_empty_gives_way_to_one_that_says_a_word() -> None:
    mux, now = Mux(dialler=True, now=0.0), 0.0
    bulk = mux.open(Lane.AUTO, now)
    mux.receive(frames.pack(WINDOW, 0, bulk, 100 * MIB), now)
    for _ in range(50):
        now += 0.1
        mux.send(bulk, bytes(128 * 1024), now)
        taken(mux, now)
    word = mux.open(Lane.AUTO, now)
    mux.send(word, b"ls", now)
    assert taken(mux, now)[0] == (word, 2)
    mux.send(word, b"ls", now)
    assert all(size <= 16 * 1024 for _, size in taken(mux, now)), "beside a shell, bulk goes in small frames"


@pytest.mark.parametrize(("rate", "round_trip"), [(1.25e6, 0.1), (2.5e6, 0.05), (12.5e6, 0.01)])
def test_a_full_road_keeps_its_rate_for_a_minute(rate: float, round_trip: float) -> None:
    """The shortest round trip is asked for again on the way, and that comes to an end each time."""
    pace, now, free_at, sent_before = Pace(0.0), 0.0, 0.0, 0
    echoes: list[tuple[float, int]] = []
    while now < 60.0:
        while pace.room > 0:
            size = min(pace.frame, 60_001)  # in no step with the cap
            pace.sent += size
            free_at = max(free_at, now) + size / rate
            if pace.marker_due:
                echoes.append((free_at + round_trip, pace.marker(now)))
        if pace.marker_due:
            echoes.append((free_at + round_trip, pace.marker(now)))
        at, value = echoes.pop(0)
        now = max(now, at)
        pace.echoed(value, now)
        if now < 20.0:
            sent_before = pace.arrived
    assert (pace.arrived - sent_before) / 40.0 > 0.95 * rate


async def test_a_splice_that_is_cancelled_cuts_both_sides() -> None:
    spliced: list[asyncio.Task[object]] = []
    ours, target = socket.socketpair()
    ours.setblocking(False)
    target.setblocking(False)

    async def serve(stream: Stream, _preamble: bytes) -> None:
        stream.answer(b"ok")
        async with asyncio.TaskGroup() as group:
            spliced.append(group.create_task(splice(stream, ours)))

    with target:
        async with asyncio.timeout(20), wired(serve) as console:
            stream, _ = await console.open(b"?")
            await stream.write(b"hello")
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(target, 5) == b"hello"
            spliced[0].cancel()
            assert await loop.sock_recv(target, 1) == b""
            with pytest.raises(Exception, match="cut"):
                await stream.read()


async def test_a_join_that_is_cancelled_cuts_both_streams_though_one_direction_had_ended() -> None:
    async def silent(stream: Stream, _preamble: bytes) -> None:
        stream.answer(b"ok")
        await asyncio.Event().wait()

    async with asyncio.timeout(20), wired(silent) as one, wired(silent) as other:
        (left, _), (right, _) = await one.open(b"?"), await other.open(b"?")
        async with asyncio.TaskGroup() as group:
            joined = group.create_task(join(left, right))
            await asyncio.sleep(0)
            left.peer_ended()
            await asyncio.sleep(0)
            joined.cancel()
        assert left.fault is not None
        assert right.fault is not None
