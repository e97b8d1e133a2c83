"""This file is what HTTP clients open connections with: once it is closed, so is each of its sockets.

aiohttp forgets a connection that it gives up (a request that was cancelled, an answer that ends it, a certificate of
another than the one meant) and leaves it to say good-bye in TLS for as long as the peer likes, up to 30 seconds. A
loop that ends before that leaves an open socket behind. So every socket is remembered here, and closing cuts those
that are left: a socket that is shut down looks to its transport like a peer that has gone, which ends every state.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import aiohttp

CLOSE_LIMIT = 5.0
CONNECTIONS = 100


class _Socket(socket.socket):
    """Tells when it is closed."""

    gone: Callable[["_Socket"], None] | None = None

    def close(self) -> None:
        super().close()
        self._tell()

    def detach(self) -> int:
        """Hand the descriptor to somebody who closes it: uvloop does so at the end."""
        descriptor = super().detach()
        self._tell()
        return descriptor

    def _tell(self) -> None:
        if self.gone is not None:
            self.gone(self)


class Connector(aiohttp.TCPConnector):  # noqa: TID251 - the one that waits
    """A TCPConnector that waits for all it has opened; without `trust` the machine's trust store decides."""

    def __init__(self, trust: ssl.SSLContext | aiohttp.Fingerprint | None = None, *, limit: int = CONNECTIONS) -> None:
        self._left: set[_Socket] = set()
        self._none_left = asyncio.Event()
        super().__init__(ssl=trust or True, limit=limit, socket_factory=self._socket)

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close what is open, and cut what was given up; takes at most CLOSE_LIMIT seconds."""
        try:
            await super().close(abort_ssl=abort_ssl)
        finally:
            for one in self._left:
                with suppress(OSError):  # not connected yet: whoever connects it closes it
                    one.shutdown(socket.SHUT_RDWR)
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT):
                    while self._left:
                        self._none_left.clear()
                        await self._none_left.wait()

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        return self._remembered(_Socket(family, kind, protocol))

    def _adopted(self, connected: socket.socket) -> socket.socket:
        """Return a socket that somebody else has connected as one of ours."""
        family, kind, protocol = connected.family, connected.type, connected.proto
        return self._remembered(_Socket(family, kind, protocol, connected.detach()))

    def _remembered(self, made: _Socket) -> socket.socket:
        self._left.add(made)
        made.gone = self._gone
        return made

    def _gone(self, closed: _Socket) -> None:
        self._left.discard(closed)
        if not self._left:
            self._none_left.set()
