"""This file is the console's end of tunnels inside WebSockets: bytes to and from a port of its own, and nothing more.

Who calls is not known here and need not be: the port behind asks for a certificate, as it does of everybody. So all
there is to do is to bound what nobody has to answer for: how many there are, how long they say nothing, how much waits.

::

    binary message <=> bytes of a TCP connection over loopback; an empty message <=> its end in that direction
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, WSMsgType, web

from gateway.kit.errors import GatewayError, Remedy

SUBPROTOCOL = "pcg.nested.v1"
MOST = 2000
MOST_EACH = 500
PIECE = 64 * 1024
MESSAGE_LIMIT = 256 * 1024
FIRST_LIMIT = 10.0
"""Seconds in which the first bytes have to come."""
IDLE_LIMIT = 120.0
"""Seconds in which some have to come after that, either way: a tunnel that lives is never silent for so long."""
LINGER = 30.0
END = b""


class TooManyNestedError(GatewayError):
    """Too many tunnels inside WebSockets are open."""

    code = "console.too_many_nested"
    remedy = Remedy.RETRY


@dataclass(slots=True)
class Nested:
    """The open ones. `doors` are the ports of the console that may be asked for."""

    doors: dict[str, tuple[str, int]]
    most: int = MOST
    most_each: int = MOST_EACH
    first_limit: float = FIRST_LIMIT
    idle_limit: float = IDLE_LIMIT
    _sockets: set[web.WebSocketResponse] = field(default_factory=set)
    _open: "Counter[str]" = field(default_factory=Counter)

    @contextmanager
    def seat(self, address: str) -> Iterator[None]:
        """Take a place while the body runs. Raises TooManyNestedError."""
        if self._open.total() >= self.most or self._open[address] >= self.most_each:
            raise TooManyNestedError("too many tunnels inside WebSockets are open: try again in a minute")
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            self._open += Counter()  # forgets who has none

    async def carry(self, outer: web.WebSocketResponse, inner: str) -> None:
        """Join an open WebSocket with one of the doors until both directions have ended, or either is cut.

        Raises OSError (a TimeoutError when nothing moves).
        """
        host, port = self.doors[inner]
        self._sockets.add(outer)
        try:
            reader, writer = await asyncio.open_connection(host, port, limit=PIECE)
            try:
                await _Joined(outer, reader, writer, self.idle_limit).run(self.first_limit)
            finally:
                writer.transport.abort()
                with suppress(OSError):
                    await writer.wait_closed()
        finally:
            self._sockets.discard(outer)

    async def close(self) -> None:
        """End them all: the console stops."""
        for outer in list(self._sockets):
            await outer.close(code=WSCloseCode.GOING_AWAY, message=b"the console stops")


@dataclass(slots=True)
class _Joined:
    outer: web.WebSocketResponse
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_limit: float
    _limit: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))

    async def run(self, first_limit: float) -> None:
        try:
            async with self._limit, asyncio.TaskGroup() as both:
                self._within(first_limit)
                ways = [both.create_task(self._in()), both.create_task(self._out())]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                async with asyncio.timeout(LINGER):
                    await asyncio.wait(ways)
        except* OSError as several:
            raise several.exceptions[0] from several
        await self.outer.close()

    async def _in(self) -> None:
        while piece := await self._heard():
            self.writer.write(piece)
            await self.writer.drain()
            self._within(self.idle_limit)
        self.writer.write_eof()

    async def _heard(self) -> bytes:
        message = await self.outer.receive()
        if message.type is not WSMsgType.BINARY:
            raise ConnectionResetError("the WebSocket was closed, or says what is no bytes")
        piece: bytes = message.data
        return piece

    async def _out(self) -> None:
        while piece := await self.reader.read(PIECE):
            await self.outer.send_bytes(piece)
            self._within(self.idle_limit)
        await self.outer.send_bytes(END)

    def _within(self, seconds: float) -> None:
        if self._limit.when() is None or not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)
