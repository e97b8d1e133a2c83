"""This file is the promises of one stream to the program that reads it, on a session that is a fake."""

import asyncio
import tracemalloc

import pytest

from gateway.tunnel.frames import DATA, SYN, Bytes, Reset, pack
from gateway.tunnel.happenings import Data
from gateway.tunnel.limits import KIB, MIB
from gateway.tunnel.mux import Mux
from gateway.tunnel.stream import BlockBrokenError, Stream, StreamResetError, block


class FakeSession:
    """Keeps a mux that goes nowhere."""

    def __init__(self) -> None:
        self.mux = Mux(dialler=False, now=0.0)
        self.forgotten: list[int] = []

    def now(self) -> float:
        return 0.0

    def flush_soon(self) -> None:
        """Nobody is there."""

    def forget(self, stream: Stream) -> None:
        self.forgotten.append(stream.id)

    def stream(self) -> Stream:
        """Return a stream that the peer has opened."""
        self.mux.receive(pack(DATA, SYN, 1, 0), 0.0)
        return Stream(self, 1)


def comes(session: FakeSession, stream: Stream, message: bytes) -> None:
    for each in session.mux.receive(message, 0.0):
        if isinstance(each, Data):
            stream.came(each.payload)


@pytest.mark.parametrize("size", [1, 100, 5000, 100_000])
async def test_bytes_are_read_in_order_whatever_they_came_in(size: int) -> None:
    session = FakeSession()
    stream = session.stream()
    sent = bytes(range(256)) * 1000
    for at in range(0, len(sent), size):
        stream.came(memoryview(sent)[at : at + size])
    stream.peer_ended()
    read = bytearray()
    while piece := await stream.read(777):
        assert len(piece) <= 777
        read += piece
    assert read == sent


@pytest.mark.attack(15)
@pytest.mark.parametrize("crumb", [1, 100, 4096])
async def test_crumbs_that_nobody_reads_cost_little_more_than_they_weigh(crumb: int) -> None:
    """Each came in a message of its own, most of which was for another stream."""
    session = FakeSession()
    stream = session.stream()
    frame = pack(DATA, 0, 1, crumb) + b"x" * crumb
    tracemalloc.start()
    for _ in range(64 * KIB // crumb):
        comes(session, stream, frame + pack(DATA, 0, 99, 60_000) + b"y" * 60_000)
    assert tracemalloc.get_traced_memory()[0] < 5 * 64 * KIB
    tracemalloc.stop()
    assert session.mux.held == 64 * KIB // crumb * crumb


async def test_what_was_cut_is_read_no_more_and_held_no_more() -> None:
    session = FakeSession()
    stream = session.stream()
    stream.came(b"x" * MIB)
    stream.was_cut(StreamResetError("cut", Reset.BUSY))
    with pytest.raises(StreamResetError):
        await stream.read()
    assert session.forgotten == [1]


async def test_a_stream_may_be_ended_and_reset_twice() -> None:
    session = FakeSession()
    stream = session.stream()
    stream.end()
    stream.end()
    stream.peer_ended()
    stream.reset()
    stream.reset()
    assert stream.fault is None
    assert session.forgotten == []  # what is queued still goes out; the mux tells when it has


@pytest.mark.attack(16)
@pytest.mark.parametrize("said", [b"", b"\x00", b"\x10\x01" + b"x" * 4097, b"\x00\x05four"])
async def test_a_preamble_that_is_none_is_broken(said: bytes) -> None:
    stream = FakeSession().stream()
    stream.came(said)
    stream.peer_ended()
    with pytest.raises(BlockBrokenError):
        await stream.read_block(4096)


async def test_a_preamble_may_come_byte_by_byte_and_what_follows_is_left_for_the_reader() -> None:
    stream = FakeSession().stream()
    for byte in block(b"what it is for") + b"more":
        stream.came(bytes([byte]))
    assert await stream.read_block(4096) == b"what it is for"
    assert bytes(await stream.read()) == b"more"


class Took:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def came(self, payload: Bytes) -> None:
        self.told.append(bytes(payload))

    def ended(self) -> None:
        self.told.append("ended")

    def cut(self, fault: object) -> None:
        self.told.append("cut")

    def room(self) -> None:
        self.told.append("room")


@pytest.mark.parametrize("last", ["ended", "cut"])
async def test_who_attaches_gets_first_what_has_come_and_then_how_it_ended(last: str) -> None:
    stream = FakeSession().stream()
    stream.came(b"before")
    if last == "ended":
        stream.peer_ended()
    sink = Took()
    stream.attach(sink)
    if last == "cut":
        stream.was_cut(StreamResetError("cut", Reset.IDLE))
    assert sink.told == [b"before", last]


async def test_a_writer_that_is_cancelled_takes_no_other_with_it() -> None:
    session = FakeSession()
    stream = session.stream()
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(stream.write(b"x" * 256 * KIB)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert not second.done()
        stream.room()
