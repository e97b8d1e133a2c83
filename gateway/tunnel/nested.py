"""This file is the road for where TLS is opened on the way: the real TLS connection, inside a WebSocket of its own.

::

    tunnel ── inner TLS, mutual, pinned ──┐                             ┌── console's tunnel port
                                      socketpair ══ outer wss:// ══ console's API
                                          └── whoever stands here, by rule or by force, sees bytes ──┘

A binary message holds bytes of the inner connection, in order. An empty one says that no more will come from that side.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.calling import ConsoleNotTrustedError, open_websocket
from gateway.tunnel.roads import DialError, Road

SUBPROTOCOL = "pcg.nested.v1"
PIECE = 64 * 1024
MESSAGE_LIMIT = 256 * 1024
LINGER = 30.0
"""Seconds that the other direction may take once one has ended: TLS has no use for half a connection."""
STUCK = 45.0
"""Seconds after which a far end that takes nothing is given up: the tunnel inside has given it up by then."""
LEAVE = 1.0
"""Seconds for what is still on its way when the road is closed."""
END = b""


class OuterNotTrustedError(GatewayError):
    """The WebSocket that should carry the tunnel shows a certificate that this machine does not trust."""

    code = "tunnel.outer_not_trusted"
    remedy = Remedy.OPERATOR


class Nested:
    """The road through WebSockets to `url`; an open one owns every WebSocket it has made, and closes them on leaving.

    `tls` says whose certificate the outer connection may show; the inner one does not depend on it.
    """

    def __init__(self, url: str, tls: ssl.SSLContext, road: Road) -> None:
        self._url = url
        self._tls = tls
        self._road = road
        self._group = asyncio.TaskGroup()
        self._pumps: set[asyncio.Task[None]] = set()
        self._open = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            if self._pumps:
                await asyncio.wait(self._pumps, timeout=LEAVE)
        finally:
            for pump in self._pumps:
                pump.cancel()
            # Not told of the body's error: a group would wrap it, and no pump is to blame for it.
            await self._group.__aexit__(None, None, None)

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return one end of a pair of sockets; the other is carried to the console's own tunnel port.

        Raises DialError or OuterNotTrustedError.
        """
        outer = await self._outer()
        if not self._open:
            outer.transport.abort()
            await outer.wait_closed()
            raise DialError(f"the road to {host} port {port} was closed meanwhile")
        ours, theirs = socket.socketpair()
        theirs.settimeout(0)
        # Nothing is awaited from here on: whoever is cancelled now leaves the pump to find its other end closed.
        pump = self._group.create_task(_pump(outer, ours), name="nested")
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        return theirs

    async def _outer(self) -> ClientConnection:
        try:
            return await open_websocket(
                self._url,
                tls=self._tls,
                road=self._road,
                subprotocol=SUBPROTOCOL,
                message_limit=MESSAGE_LIMIT,
                kind=ClientConnection,
            )
        except ConsoleNotTrustedError as fault:
            why = getattr(fault.__cause__, "verify_message", "it cannot be verified")
            raise OuterNotTrustedError(
                f"{self._url} shows a certificate that this machine does not trust: {why}; if your company opens TLS, "
                "put its authority into a file and name that in outer_trust"
            ) from fault


async def _pump(outer: ClientConnection, ours: socket.socket) -> None:
    """Carry both directions until both have ended, or either is cut; leaves nothing open."""
    try:
        reader, writer = await asyncio.open_connection(sock=ours, limit=PIECE)
        try:
            with suppress(ConnectionClosed, OSError):
                await _carry(outer, reader, writer)
                await outer.close()
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
    finally:
        ours.close()
        outer.transport.abort()
        await outer.wait_closed()


async def _carry(outer: ClientConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.TaskGroup() as both:
            ways = [both.create_task(_out(outer, reader)), both.create_task(_in(outer, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(LINGER):
                await asyncio.wait(ways)
    except* (ConnectionClosed, OSError) as several:
        raise several.exceptions[0] from several


async def _out(outer: ClientConnection, reader: asyncio.StreamReader) -> None:
    while piece := await reader.read(PIECE):
        async with asyncio.timeout(STUCK):
            await outer.send(piece)
    await outer.send(END)


async def _in(outer: ClientConnection, writer: asyncio.StreamWriter) -> None:
    while piece := await outer.recv(decode=False):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
