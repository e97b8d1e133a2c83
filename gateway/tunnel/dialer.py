"""This file is how the appliance calls out: WebSockets over a road, with the TLS context it is handed."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.tunnel.calling import OPEN_LIMIT, CertificateRefusedError, ConsoleNotTrustedError, open_websocket
from gateway.tunnel.channel import SUBPROTOCOL, Channel, HeardClientConnection
from gateway.tunnel.roads import DialError, Direct, Road

__all__ = ["OPEN_LIMIT", "CertificateRefusedError", "ConsoleNotTrustedError", "DialError", "dial"]

DIRECT = Direct()


@asynccontextmanager
async def dial(url: str, *, tls: ssl.SSLContext, message_limit: int, road: Road = DIRECT) -> AsyncIterator[Channel]:
    """Open the command channel at `url` (wss://…) and close it on leaving.

    Messages over `message_limit` bytes end the connection. Raises DialError (ProxyError when a proxy is to blame),
    ConsoleNotTrustedError or CertificateRefusedError.
    """
    connection = await open_websocket(
        url, tls=tls, road=road, subprotocol=SUBPROTOCOL, message_limit=message_limit, kind=HeardClientConnection
    )
    channel = Channel(connection)
    try:
        yield channel
    finally:
        await channel.close()
