"""This file is the console's end of the tunnel: a port that takes WebSockets with client certificates only.

A console that has more calls to answer than it can, or is about to stop, says so before the tunnel opens, and when to
call again: each caller is told another moment, so that they do not all come back at once. Of one client certificate
only a few may wait: who connects and says nothing keeps out nobody but itself.
"""

import asyncio
import http
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import structlog
from websockets.asyncio.server import Server, ServerConnection
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from gateway.tunnel import dataline, handshake
from gateway.tunnel.calling import CLOSE_LIMIT, OPEN_LIMIT
from gateway.tunnel.channel import SUBPROTOCOL, Channel
from gateway.tunnel.dataline import DataEnd
from gateway.tunnel.door import Door, Lock
from gateway.tunnel.frames import ProtocolBrokenError
from gateway.tunnel.handshake import SharedConnection
from gateway.tunnel.porch import Porch
from gateway.tunnel.roads import tune

log = structlog.get_logger(__name__)

MOST_WAITING = 200
MOST_OF_ONE = 8
"""Of one certificate: an appliance that comes back opens five at once, commands and four data sessions."""
HANDSHAKE_LIMIT = 10.0
"""Seconds that TLS may take to come about."""
BARRED = 10.0
"""Seconds in which a certificate is not let in whose session broke the protocol: else a flood would only call again."""
SOONEST, LATEST = 5, 30
"""Seconds between which a caller that is sent away is asked to call again."""


@dataclass(slots=True)
class Lobby:
    """Who has called and is not served yet.

    While more than `most` wait, or once `draining` is set, further callers are sent away. `on_caller` is told where
    each caller whose certificate is good calls from. `draw` returns a number in [0, 1).
    """

    most: int = MOST_WAITING
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    on_caller: Callable[[tuple[str, int]], None] | None = None
    draw: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    barred_for: float = BARRED
    _barred: dict[bytes, float] = field(default_factory=dict)
    _waiting: dict[ServerConnection, bytes] = field(default_factory=dict)
    _each: "Counter[bytes]" = field(default_factory=Counter)

    def bars(self, certificate: bytes, now: float) -> None:
        """Let nobody in with that certificate for a moment."""
        self._barred = {one: until for one, until in self._barred.items() if until > now}
        self._barred[certificate] = now + self.barred_for

    def enters(self, connection: ServerConnection, certificate: bytes, now: float) -> bool:
        """Take note of a caller; False when it is barred, or enough with its certificate wait already."""
        if self._barred.get(certificate, now) > now:
            return False
        if self._each[certificate] >= MOST_OF_ONE:
            return False
        self._each[certificate] += 1
        self._waiting[connection] = certificate
        return True

    def leaves(self, connection: ServerConnection) -> None:
        """Take note that a caller is served, or gone."""
        certificate = self._waiting.pop(connection, None)
        if certificate is not None:
            self._each[certificate] -= 1
            self._each += Counter()  # a certificate with which nobody waits is forgotten

    def wait(self) -> int | None:
        """Return the seconds after which to call again, or None for who may stay."""
        if len(self._waiting) <= self.most and not self.draining.is_set():
            return None
        return SOONEST + int(self.draw() * (LATEST - SOONEST + 1))

    def answer(self, connection: ServerConnection, _request: Request) -> Response | None:
        """Send a caller away, or let it in."""
        wait = self.wait()
        if wait is None:
            return None
        response = connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "Call again later.\n")
        response.headers["Retry-After"] = str(wait)
        return response


class _Caller(SharedConnection):
    """A connection that stands in the lobby until it is served, or is not let in at all."""

    lobby: Lobby
    is_let_in = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self.lobby.enters(self, _certificate(transport), self.loop.time()):
            cast("asyncio.Transport", transport).abort()
            return
        self.is_let_in = True
        tune(transport.get_extra_info("socket"))
        if self.lobby.on_caller is not None:
            self.lobby.on_caller(transport.get_extra_info("peername"))
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.is_let_in:
            super().data_received(data)

    def eof_received(self) -> None:
        if self.is_let_in:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lobby.leaves(self)
        if self.is_let_in:
            super().connection_lost(exc)


def _certificate(transport: asyncio.BaseTransport) -> bytes:
    shown: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return (shown.getpeercert(binary_form=True) or b"") if shown is not None else b""


@asynccontextmanager
async def accepting(
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext,
    on_channel: Callable[[Channel], Awaitable[None]],
    message_limit: int,
    data: DataEnd | None = None,
    lobby: Lobby | None = None,
    porch: Porch | None = None,
) -> AsyncIterator[int]:
    """Accept channels while the body runs and yield the port (useful when `port` is 0).

    `on_channel` is run for each; when it returns the channel is closed. Leaving closes all channels with code
    1001 ("going away") and waits for their `on_channel` to end. A caller leaves the lobby when it hears a first message
    from `on_channel`.
    """
    hall = lobby or Lobby()

    spoken = [Subprotocol(one) for one in (SUBPROTOCOL, *([handshake.SUBPROTOCOL] if data else []))]

    def made() -> _Caller:
        protocol = ServerProtocol(subprotocols=spoken, max_size=message_limit)
        caller = _Caller(protocol, server, ping_interval=None, close_timeout=CLOSE_LIMIT, max_queue=4)
        caller.lobby = hall
        return caller

    async def taken(connection: ServerConnection) -> None:
        assert isinstance(connection, SharedConnection)  # noqa: S101 - it is what create_connection made
        if connection.is_data and data is not None:
            hall.leaves(connection)
            certificate = _certificate(connection.transport)
            why = await dataline.take(connection, data)
            if isinstance(why, ProtocolBrokenError):
                hall.bars(certificate, connection.loop.time())
            return
        channel = Channel(connection, on_first_send=lambda: hall.leaves(connection))
        try:
            await on_channel(channel)
        finally:
            await channel.close()

    async with Door(Lock(tls, HANDSHAKE_LIMIT, CLOSE_LIMIT), porch or Porch(), made) as door:
        # The library's server keeps account of connections and closes them; of what listens it asks what Door can.
        begun = cast("Callable[[], Coroutine[Any, Any, asyncio.Server]]", lambda: door.listen(host, port))
        async with Server(begun, lambda connection: _received(connection, hall, taken)) as server:
            yield server.sockets[0].getsockname()[1]


async def _received(
    connection: ServerConnection, hall: Lobby, serve: Callable[[ServerConnection], Awaitable[None]]
) -> None:
    """Take a caller through its handshake and have it served; it is gone when this returns."""
    try:
        if await _is_opened(connection, hall):
            await _kept(connection, serve)
        else:
            connection.transport.abort()
            await connection.wait_closed()
    finally:
        connection.server.handler_tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))


async def _is_opened(connection: ServerConnection, hall: Lobby) -> bool:
    try:
        async with asyncio.timeout(OPEN_LIMIT):
            await connection.handshake(hall.answer, server_header=None)
    except Exception as fault:  # noqa: BLE001 - whatever was wrong with what it sent, it is cut
        log.debug("a caller has not opened a WebSocket", error=str(fault))
        return False
    return connection.protocol.state is State.OPEN


async def _kept(connection: ServerConnection, serve: Callable[[ServerConnection], Awaitable[None]]) -> None:
    """Have a WebSocket served. While it is, the server that goes away closes it."""
    connection.server.all_connections.add(connection)
    try:
        async with connection:
            await serve(connection)
    except Exception:
        log.exception("a caller cannot be served")
    finally:
        connection.server.all_connections.discard(connection)
