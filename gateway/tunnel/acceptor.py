"""This file is the console's end of the tunnel: a port that takes WebSockets with client certificates only.

A console that has more calls to answer than it can, or is about to stop, says so before the tunnel opens, and when to
call again: each caller is told another moment, so that they do not all come back at once.
"""

import asyncio
import http
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from gateway.tunnel import dataline, handshake
from gateway.tunnel.calling import CLOSE_LIMIT, OPEN_LIMIT
from gateway.tunnel.channel import SUBPROTOCOL, Channel
from gateway.tunnel.dataline import DataEnd
from gateway.tunnel.handshake import SharedConnection
from gateway.tunnel.roads import tune

MOST_WAITING = 200
SOONEST, LATEST = 5, 30
"""Seconds between which a caller that is sent away is asked to call again."""


@dataclass(slots=True)
class Lobby:
    """Who has called and is not served yet. `draw` returns a number in [0, 1)."""

    most: int = MOST_WAITING
    draining: asyncio.Event | None = None
    draw: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    _waiting: set[ServerConnection] = field(default_factory=set)

    def enters(self, connection: ServerConnection) -> None:
        """Take note of a caller."""
        self._waiting.add(connection)

    def leaves(self, connection: ServerConnection) -> None:
        """Take note that a caller is served, or gone."""
        self._waiting.discard(connection)

    def wait(self) -> int | None:
        """Return the seconds after which to call again, or None for who may stay."""
        if len(self._waiting) <= self.most and not (self.draining is not None and self.draining.is_set()):
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


@asynccontextmanager
async def accepting(
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext,
    on_channel: Callable[[Channel], Awaitable[None]],
    message_limit: int,
    data: DataEnd | None = None,
    most_waiting: int = MOST_WAITING,
    draining: asyncio.Event | None = None,
) -> AsyncIterator[int]:
    """Accept channels while the body runs and yield the port (useful when `port` is 0).

    `on_channel` is run for each; when it returns the channel is closed. Leaving closes all channels with code
    1001 ("going away") and waits for their `on_channel` to end. While more than `most_waiting` callers have not
    heard a first message from `on_channel` yet, or once `draining` is set, further ones are sent away.
    """
    lobby = Lobby(most_waiting, draining)

    class Connection(SharedConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            lobby.enters(self)
            tune(transport.get_extra_info("socket"))
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            lobby.leaves(self)
            super().connection_lost(exc)

    async def taken(connection: ServerConnection) -> None:
        assert isinstance(connection, SharedConnection)  # noqa: S101 - it is what create_connection made
        if connection.is_data and data is not None:
            lobby.leaves(connection)
            await dataline.take(connection, data)
            return
        channel = Channel(connection, on_first_send=lambda: lobby.leaves(connection))
        try:
            await on_channel(channel)
        finally:
            await channel.close()

    async with serve(
        taken,
        host,
        port,
        ssl=tls,
        subprotocols=[SUBPROTOCOL, *([handshake.SUBPROTOCOL] if data else [])],  # type: ignore[list-item]
        compression=None,
        open_timeout=OPEN_LIMIT,
        close_timeout=CLOSE_LIMIT,
        ping_interval=None,
        max_size=message_limit,
        max_queue=4,
        server_header=None,
        process_request=lobby.answer,
        create_connection=Connection,
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]
