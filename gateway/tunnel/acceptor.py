"""This file is the console's end of the tunnel: a port that takes WebSockets with client certificates only."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve

from gateway.tunnel.channel import CLOSE_LIMIT, SUBPROTOCOL, Channel

OPEN_LIMIT = 20.0


@asynccontextmanager
async def accepting(
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext,
    on_channel: Callable[[Channel], Awaitable[None]],
    message_limit: int,
) -> AsyncIterator[int]:
    """Accept channels while the body runs and yield the port (useful when `port` is 0).

    `on_channel` is run for each; when it returns the channel is closed. Leaving closes all channels with code
    1001 ("going away") and waits for their `on_channel` to end.
    """

    async def taken(connection: ServerConnection) -> None:
        channel = Channel(connection)
        try:
            await on_channel(channel)
        finally:
            await channel.close()

    async with serve(
        taken,
        host,
        port,
        ssl=tls,
        subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
        compression=None,
        open_timeout=OPEN_LIMIT,
        close_timeout=CLOSE_LIMIT,
        ping_interval=None,
        max_size=message_limit,
        server_header=None,
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]
