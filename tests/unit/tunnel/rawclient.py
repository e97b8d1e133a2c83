"""This file is a peer that keeps no rules: it opens a data WebSocket like anybody, and then sends what it is told."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.frames import Frame, Opcode

from tests.fakes.ends import Ends

REQUEST = (
    "GET /?session=raw HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: pcg.yamux.v1\r\n\r\n"
)


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.yamux = bytearray()
        """What the payloads of all messages were."""

    def send(self, content: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(content)

    def message(self, payload: bytes) -> None:
        """Send one binary message, as it should be."""
        self.send(Frame(Opcode.BINARY, payload).serialize(mask=True))

    async def closed_with(self) -> int:
        """Read until the connection is closed; return the close code that was said, or 0."""
        code = 0
        while (frame := await self._frame()) is not None:
            opcode, payload = frame
            if opcode == Opcode.CLOSE:
                code = struct.unpack(">H", payload[:2])[0]
            elif opcode == Opcode.BINARY:
                self.yamux += payload
        return code

    async def hears(self, frame: bytes) -> None:
        """Read until that yamux frame has come."""
        while frame not in self.yamux:
            got = await self._frame()
            assert got is not None, "the connection was closed before"
            self.yamux += got[1]

    async def _frame(self) -> tuple[int, bytes] | None:
        try:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0x0F, await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


@asynccontextmanager
async def raw_client(ends: Ends, port: int) -> AsyncIterator[RawClient]:
    """Open a data WebSocket to a console and close it without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ends.client, server_hostname="127.0.0.1")
    try:
        writer.write(REQUEST.encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0.01)
