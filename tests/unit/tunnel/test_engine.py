"""This file is what becomes of a connection whose peer breaks the rules: it alone is closed, with the right code."""

import asyncio
import resource
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.frames import Frame, Opcode

from gateway.tunnel import engine, frames, session
from gateway.tunnel.frames import ACK, DATA, FIN, GO_AWAY, PING, RST, SYN, WINDOW, GoAway, Reset
from gateway.tunnel.limits import MIB
from gateway.tunnel.stream import Stream, block
from tests.fakes.ends import Ends
from tests.unit.tunnel.rawclient import REQUEST, RawClient, raw_client
from tests.unit.tunnel.sessions import Console, console, echo, on_every_loop, until

KEY = b"\x00\x00\x00\x00"


@pytest.fixture(autouse=True)
def short_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GOODBYE_LIMIT", 0.3)


async def rest_or_echo(stream: Stream, preamble: bytes) -> None:
    if preamble == b"rest":
        stream.answer(b"")
        await asyncio.Event().wait()
    await echo(stream, preamble)


@asynccontextmanager
async def attacked(ends: Ends) -> AsyncIterator[tuple[RawClient, Console]]:
    """Yield a peer without rules and the console it has called; an honest one beside it must see nothing of it."""
    async with console(ends, on_stream=rest_or_echo) as end, raw_client(ends, end.port) as honest:
        async with raw_client(ends, end.port) as evil:
            yield evil, end
        honest.message(frames.pack(DATA, SYN, 1, 4) + block(b"hi"))
        await honest.hears(frames.pack(DATA, 0, 1, 4) + block(b"hi"))


@pytest.mark.attack(18)
@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(bytes((0x82, 0xFF)) + struct.pack(">Q", 10 * 2**30), 1009, id="10 GiB announced"),
        pytest.param(Frame(Opcode.TEXT, b"words").serialize(mask=True), 1003, id="text"),
        pytest.param(bytes((0xC2, 0x80)) + KEY, 1002, id="compressed"),
        pytest.param(bytes((0x89, 0xFE)) + struct.pack(">H", 200) + KEY, 1002, id="a ping of 200 bytes"),
        pytest.param(Frame(Opcode.BINARY, b"bare").serialize(mask=False), 1002, id="not masked"),
        pytest.param(bytes((0x02, 0x80)) + KEY + (bytes((0x00, 0x80)) + KEY) * 20_000, 1009, id="fragments"),
        pytest.param(Frame(Opcode.PING, b"x").serialize(mask=True) * 1000, 1008, id="pings without end"),
        pytest.param(Frame(Opcode.CLOSE, struct.pack(">H", 1000)).serialize(mask=True), 1000, id="good-bye"),
    ],
)
async def test_a_websocket_that_is_abused_is_closed_with_the_code_that_names_it(
    ends: Ends, content: bytes, code: int
) -> None:
    async with asyncio.timeout(30), attacked(ends) as (evil, _):
        evil.send(content)
        assert await evil.closed_with() == code


@pytest.mark.attack(15)
@pytest.mark.attack(16)
@pytest.mark.attack(17)
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x01" + b"\x00" * 11, id="a version that is none"),
        pytest.param(frames.pack(WINDOW, SYN, 2, 0), id="the wrong parity"),
        pytest.param(frames.pack(WINDOW, SYN, 1, 0) * 2, id="an id twice"),
        pytest.param(frames.pack(DATA, SYN, 1, 262_145), id="more than a window with SYN"),
        pytest.param(
            frames.pack(DATA, SYN, 1, 6) + block(b"rest") + (frames.pack(DATA, 0, 1, 65_536) + b"x" * 65_536) * 5,
            id="beyond credit",
        ),
        pytest.param(
            frames.pack(WINDOW, SYN, 1, 0) + frames.pack(WINDOW, 0, 1, 2**32 - 1), id="a delta that wraps"
        ),
        pytest.param(frames.pack(PING, SYN, 0, 1) * 300, id="a flood of pings"),
        pytest.param(frames.pack(WINDOW, SYN, 1, 0) + frames.pack(DATA, 0, 1, 0) * 6000, id="a flood of nothing"),
    ],
)  # fmt: skip
async def test_a_session_that_breaks_the_protocol_is_told_so_and_closed(ends: Ends, content: bytes) -> None:
    async with asyncio.timeout(30), attacked(ends) as (evil, _):
        for at in range(0, len(content), 60_000):
            evil.message(content[at : at + 60_000])
        assert await evil.closed_with() == 1002
        assert frames.pack(GO_AWAY, 0, 0, GoAway.PROTOCOL_ERROR) in evil.yamux


@pytest.mark.attack(16)
async def test_what_is_only_odd_about_one_stream_ends_that_stream_and_not_the_session(ends: Ends) -> None:
    odd = (
        frames.pack(WINDOW, ACK, 99, 5) + frames.pack(DATA, SYN | FIN | RST, 101, 0)
        + frames.pack(DATA, SYN | FIN, 103, 0) + frames.pack(DATA, FIN, 103, 0) + frames.pack(DATA, 0, 103, 1) + b"x"
        + frames.pack(WINDOW, RST, 777, 6)
    )  # fmt: skip
    async with asyncio.timeout(30), attacked(ends) as (evil, _):
        for at in range(len(odd)):
            evil.message(odd[at : at + 1])
        evil.message(frames.pack(DATA, SYN, 105, 4) + block(b"ok"))
        await evil.hears(frames.pack(DATA, 0, 105, 4) + block(b"ok"))
        await evil.hears(frames.pack(WINDOW, RST, 99, 0))


@pytest.mark.attack(13)
async def test_thousands_of_streams_that_never_say_what_they_are_for_are_few_and_short_lived(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PREAMBLE_LIMIT", 0.5)
    async with asyncio.timeout(60), attacked(ends) as (evil, end):
        await end.sessions.get()
        attacked_session = await end.sessions.get()
        evil.message(b"".join(frames.pack(DATA, SYN, number, 1) + b"\x00" for number in range(1, 6001, 2)))
        await until(lambda: attacked_session.streams)
        assert attacked_session.streams <= 256
        await evil.hears(frames.pack(WINDOW, RST, 5999, Reset.BUSY))
        await evil.hears(frames.pack(WINDOW, RST, 1, Reset.TIMEOUT))
        await until(lambda: attacked_session.streams == 0)
        evil.message(frames.pack(DATA, SYN, 6001, 4) + block(b"ok"))
        await evil.hears(frames.pack(DATA, 0, 6001, 4) + block(b"ok"))


@pytest.mark.attack(13)
async def test_ten_thousand_streams_at_once_are_a_flood_and_cost_no_memory(ends: Ends) -> None:
    async with asyncio.timeout(60), attacked(ends) as (evil, _):
        tracemalloc.start()
        evil.message(b"".join(frames.pack(WINDOW, SYN, number, 0) for number in range(1, 20_001, 2)))
        assert await evil.closed_with() == 1002
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
        tracemalloc.stop()


@pytest.mark.attack(13)
async def test_a_frame_that_comes_drop_by_drop_is_waited_for_and_costs_nothing(ends: Ends) -> None:
    async with asyncio.timeout(30), attacked(ends) as (evil, _):
        for byte in frames.pack(DATA, SYN, 1, 4) + block(b"ok"):
            evil.message(bytes([byte]))
            await asyncio.sleep(0.005)
        await evil.hears(frames.pack(DATA, 0, 1, 4) + block(b"ok"))


@pytest.mark.attack(18)
async def test_megabytes_of_abuse_behind_a_fault_are_thrown_away(ends: Ends) -> None:
    def pour(port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            ends.client.wrap_socket(plain, server_hostname="127.0.0.1") as evil,
            suppress(OSError),
        ):
            evil.sendall(REQUEST.encode())
            evil.recv(4096)
            evil.sendall(bytes((0x82, 0xFF)) + struct.pack(">Q", 10 * 2**30) + KEY)
            for _ in range(2048):
                evil.sendall(b"x" * 65_536)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(60), console(ends, on_stream=echo) as end:
        await asyncio.to_thread(pour, end.port)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


@on_every_loop
async def test_a_peer_that_vanishes_in_the_middle_of_a_frame_leaves_nothing(ends: Ends) -> None:
    async with console(ends, on_stream=echo) as end:
        async with raw_client(ends, end.port) as evil:
            evil.send(Frame(Opcode.BINARY, b"x" * 1000).serialize(mask=True)[:500])
            lost = await end.sessions.get()
        await lost.closed()
