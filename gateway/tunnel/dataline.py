"""This file is how a data session is opened from either end: dialled by the appliance, taken by the console."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from websockets.exceptions import InvalidHandshake, InvalidURI
from websockets.uri import parse_uri

from gateway.kit.errors import GatewayError
from gateway.tunnel import liveness
from gateway.tunnel import session as sessions
from gateway.tunnel.calling import OPEN_LIMIT, named
from gateway.tunnel.engine import Engine
from gateway.tunnel.handshake import Handshake, SharedConnection
from gateway.tunnel.limits import Limits
from gateway.tunnel.roads import Direct, Road
from gateway.tunnel.session import OnStream, Session

OnSession: TypeAlias = Callable[[Session, str], Awaitable[None]]
"""Called for each data session with it and the request's path and query; when it returns the session is closed."""


@dataclass(frozen=True, slots=True)
class DataEnd:
    """What the accepting end does with data sessions."""

    on_session: OnSession
    on_stream: OnStream | None = None
    limits: Limits | None = None


@asynccontextmanager
async def dial_data(
    url: str,
    *,
    tls: ssl.SSLContext,
    road: Road | None = None,
    on_stream: OnStream | None = None,
    limits: Limits | None = None,
    headers: Mapping[str, str] | None = None,
    quiet: float = liveness.QUIET,
    dead: float = liveness.DEAD,
) -> AsyncIterator[Session]:
    """Open a data session at `url` (wss://…), asked for with `headers`, and close it on leaving.

    Takes at most OPEN_LIMIT seconds. Raises DialError or ConsoleNotTrustedError.
    """
    try:
        async with asyncio.timeout(OPEN_LIMIT):
            engine = await _dialled(url, tls, road or Direct(), headers or {})
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI, ValueError) as fault:
        raise named(url, fault) from fault
    async with sessions.running(
        engine, dialler=True, on_stream=on_stream, limits=limits, quiet=quiet, dead=dead
    ) as session:
        yield session


async def _dialled(url: str, tls: ssl.SSLContext, road: Road, headers: Mapping[str, str]) -> Engine:
    uri = parse_uri(url)
    if not uri.secure:
        raise InvalidURI(url, "a data session is opened over TLS only")
    host = urlsplit(url).hostname or uri.host
    connected = await road.connect(uri.host, uri.port)
    try:
        transport, handshake = await asyncio.get_running_loop().create_connection(
            lambda: Handshake(uri, headers), sock=connected, ssl=tls, server_hostname=host
        )
    except BaseException:
        connected.close()
        raise
    try:
        return await handshake.done
    except BaseException:
        transport.abort()
        raise


async def take(connection: SharedConnection, end: DataEnd) -> GatewayError:
    """Run a data session on a connection of the server until `end.on_session` returns or the session is over.

    Returns why it ended.
    """
    path = connection.request.path if connection.request is not None else ""
    carrier = connection.take_over()
    async with sessions.running(carrier, dialler=False, on_stream=end.on_stream, limits=end.limits) as session:
        await end.on_session(session, path)
    return await session.closed()
