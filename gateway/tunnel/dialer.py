"""This file is how the appliance calls out: one outbound WebSocket over the TLS context it is handed."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.channel import CLOSE_LIMIT, SUBPROTOCOL, Channel

OPEN_LIMIT = 20.0


class DialError(GatewayError):
    """The console could not be called."""

    code = "tunnel.dial"
    remedy = Remedy.RETRY


class ConsoleNotTrustedError(GatewayError):
    """Whoever answered is not the console this appliance was paired with."""

    code = "tunnel.not_trusted"
    remedy = Remedy.OPERATOR


@asynccontextmanager
async def dial(url: str, *, tls: ssl.SSLContext, message_limit: int) -> AsyncIterator[Channel]:
    """Open the command channel at `url` (wss://…) and close it on leaving.

    Takes at most OPEN_LIMIT seconds; messages over `message_limit` bytes end the connection. Raises DialError or
    ConsoleNotTrustedError.
    """
    try:
        connection = await connect(
            url,
            ssl=tls,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            compression=None,
            open_timeout=OPEN_LIMIT,
            close_timeout=CLOSE_LIMIT,
            ping_interval=None,
            max_size=message_limit,
            proxy=None,
        )
    except ssl.SSLCertVerificationError as fault:
        raise ConsoleNotTrustedError(
            f"{url} shows a certificate that is not of the console this appliance was paired with: "
            f"{fault.verify_message}; look for a proxy that opens TLS"
        ) from fault
    except (OSError, InvalidHandshake, InvalidURI, ConnectionClosed) as fault:
        raise DialError(f"cannot reach the console at {url}: {str(fault) or type(fault).__name__}") from fault
    channel = Channel(connection)
    try:
        yield channel
    finally:
        await channel.close()
