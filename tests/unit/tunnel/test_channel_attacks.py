"""This file is what a peer with a good certificate and bad manners gets from the command channel: a close code."""

import asyncio
import base64
import gc
import os
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.tunnel.acceptor import accepting
from gateway.tunnel.channel import SUBPROTOCOL, Channel, ChannelClosedError
from gateway.tunnel.dialer import dial
from tests.fakes.ends import Ends

LIMIT = 256 * 1024
MEMORY = 8 * 1024 * 1024
FIN, RSV1, MASKED = 0x80, 0x40, 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9


def frame(
    opcode: int, payload: bytes = b"", *, first: int = FIN, masked: bool = True, claims: int | None = None
) -> bytes:
    """Return a frame; `claims` is the length it announces, if another than it has."""
    size, mask = len(payload) if claims is None else claims, MASKED if masked else 0
    if size < 126:
        head = struct.pack(">BB", first | opcode, mask | size)
    elif size < 65536:
        head = struct.pack(">BBH", first | opcode, mask | 126, size)
    else:
        head = struct.pack(">BBQ", first | opcode, mask | 127, size)
    return head + (bytes(4) if masked else b"") + payload  # a mask of nothing but zeros changes nothing


@dataclass
class Rude:
    """A connection that is through the handshake and minds no manners."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, content: bytes) -> None:
        with suppress(OSError):
            self.writer.write(content)
            await self.writer.drain()

    async def close_code(self) -> int:
        """Return the code of the close frame; everything before it is left aside."""
        async with asyncio.timeout(10):
            while True:
                opcode, size = await self.reader.readexactly(2)
                if size == 126:
                    (size,) = struct.unpack(">H", await self.reader.readexactly(2))
                payload = await self.reader.readexactly(size)
                if opcode & 0x0F == CLOSE:
                    return int(struct.unpack(">H", payload[:2])[0])


@asynccontextmanager
async def rude(directory: Path, *, extensions: str = "") -> AsyncIterator[tuple[Rude, list[str]]]:
    """Run a console's end, open a WebSocket to it by hand, and yield it and what the console has heard."""
    ends, heard = Ends(directory), list[str]()

    async def listen(channel: Channel) -> None:
        with suppress(ChannelClosedError):
            while True:
                heard.append(await channel.receive())

    async with accepting("127.0.0.1", 0, tls=ends.server, on_channel=listen, message_limit=LIMIT) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ends.client)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{extensions}\r\n".encode()
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"permessage-deflate" not in answer
        try:
            yield Rude(reader, writer), heard
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


async def test_a_well_behaved_frame_is_heard(tmp_path: Path) -> None:
    """The counterpart: what the attacks below send differs from this only in what they say it does."""
    async with rude(tmp_path) as (peer, heard):
        await peer.say(frame(TEXT, b"hel", first=0) + frame(PING, b"x" * 125) + frame(CONTINUATION, b"lo"))
        await peer.say(frame(CLOSE, struct.pack(">H", 1000)))
        assert await peer.close_code() == 1000
    assert heard == ["hello"]


@pytest.mark.attack(18)
@pytest.mark.parametrize(
    ("said", "code"),
    [
        (frame(TEXT, b"x" * (LIMIT + 1)), 1009),
        (frame(TEXT, b"x", claims=10 * 1024**3), 1009),
        (frame(TEXT, b"x", claims=2**63 - 1), 1009),
        (frame(TEXT, b"x", claims=2**63), 1009),
        (frame(TEXT, b"x" * (LIMIT // 2), first=0) + frame(CONTINUATION, b"x" * (LIMIT // 2 + 1)), 1009),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", first=0), 1002),
        (frame(TEXT, b"hello", masked=False), 1002),
        (frame(TEXT, zlib.compress(b"x" * 1000), first=FIN | RSV1), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(TEXT, b"x", first=0) + frame(TEXT, b"y"), 1002),
        (frame(3, b"x"), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(BINARY, b"hello"), 1003),
        (frame(CLOSE, b"\x00"), 1002),
    ],
    ids=[
        "over the limit", "10 GiB announced", "8 EiB announced", "length below zero", "over the limit in two",
        "long ping", "ping in parts", "no mask", "compressed", "no beginning", "two beginnings", "unknown opcode",
        "no UTF-8", "binary", "half a close code",
    ],
)  # fmt: skip
async def test_bad_manners_end_the_channel_with_their_code(tmp_path: Path, said: bytes, code: int) -> None:
    async with rude(tmp_path) as (peer, heard):
        await peer.say(said)
        assert await peer.close_code() == code
    assert heard == []


@pytest.mark.attack(18)
async def test_compression_is_not_agreed_on_even_when_it_is_asked_for(tmp_path: Path) -> None:
    """And so a bomb is a protocol error before a byte of it is unpacked."""
    bomb = zlib.compress(bytes(64 * 1024 * 1024))[2:-4]
    asked = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    async with rude(tmp_path, extensions=asked) as (peer, heard), flat_memory():
        await peer.say(frame(TEXT, bomb, first=FIN | RSV1))
        assert await peer.close_code() == 1002
    assert heard == []


@pytest.mark.attack(18)
async def test_a_million_fragments_are_not_waited_for(tmp_path: Path) -> None:
    async with rude(tmp_path) as (peer, heard), flat_memory():
        await peer.say(frame(TEXT, b"", first=0))
        many = frame(CONTINUATION, b"", first=0) * 1000
        async with asyncio.TaskGroup() as group:
            code = group.create_task(peer.close_code())
            for _ in range(1000):
                await peer.say(many)
                if code.done():
                    break
        assert code.result() in {1002, 1008, 1009}
    assert heard == []


@pytest.mark.attack(18)
async def test_ten_gibibytes_in_fragments_are_not_kept(tmp_path: Path) -> None:
    async with rude(tmp_path) as (peer, heard), flat_memory():
        piece = frame(CONTINUATION, b"x" * 60_000, first=0)
        await peer.say(frame(TEXT, b"x", first=0))
        async with asyncio.TaskGroup() as group:
            code = group.create_task(peer.close_code())
            for _ in range(10 * 1024**3 // 60_000):
                await peer.say(piece)
                await asyncio.sleep(0)
                if code.done():
                    break
        assert code.result() == 1009
    assert heard == []


@pytest.mark.attack(18)
async def test_messages_that_nobody_takes_stop_the_sender_and_fill_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console is busy with the first; the queue behind it is bounded, and so is what the kernel takes."""
    monkeypatch.setattr("gateway.tunnel.channel.CLOSE_LIMIT", 0.1)
    ends, over, sent = Ends(tmp_path), asyncio.Event(), 0

    async def busy(channel: Channel) -> None:
        await over.wait()

    async with (
        accepting("127.0.0.1", 0, tls=ends.server, on_channel=busy, message_limit=LIMIT) as port,
        dial(f"wss://127.0.0.1:{port}/", tls=ends.client, message_limit=LIMIT) as channel,
        flat_memory(),
    ):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.7):
                while sent < 400:
                    await channel.send("x" * 200_000)
                    sent += 1
        over.set()
        channel._connection.transport.abort()
    assert sent < 100


@asynccontextmanager
async def flat_memory() -> AsyncIterator[None]:
    """Both ends run in this process, so what is measured is both."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - before < MEMORY, peak - before
