"""This file is one open command WebSocket: whole text messages both ways, and a peer that is watched.

The library's own keepalive is off: it counts answers to its last ping only and so cuts a slow link that is
busy delivering. Here every message and every answer to a ping is a sign of life; a peer that is silent for QUIET
seconds is asked, and declared dead when its last sign of life is DEAD seconds old.
"""

import asyncio
import ssl

from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

from gateway.kit.errors import GatewayError, Remedy

QUIET = 15.0
DEAD = 45.0
CLOSE_LIMIT = 5.0
SUBPROTOCOL = "pcg.commands.v1"


class ChannelClosedError(GatewayError):
    """The channel to the other side is closed."""

    code = "tunnel.closed"
    remedy = Remedy.RETRY


class Channel:
    """One connection. Exactly one task receives; any task may send."""

    def __init__(self, connection: Connection, *, quiet: float = QUIET, dead: float = DEAD) -> None:
        self._connection = connection
        self._quiet = quiet
        self._dead = dead
        self._last_sign = asyncio.get_running_loop().time()
        self._asked: asyncio.Future[float] | None = None

    @property
    def peer_certificate(self) -> bytes:
        """The peer's verified certificate in DER; empty when it showed none."""
        tls: ssl.SSLObject | None = self._connection.transport.get_extra_info("ssl_object")
        return (tls.getpeercert(binary_form=True) or b"") if tls is not None else b""

    @property
    def peer_address(self) -> str:
        """Where the peer calls from, for logs."""
        address = self._connection.remote_address
        return str(address[0]) if address else "unknown"

    async def send(self, text: str) -> None:
        """Hand one message to the network; waits while the peer is slow. Raises ChannelClosedError.

        A peer that has not taken the message within DEAD seconds is given up: one cut in the middle cannot be mended.
        """
        try:
            async with asyncio.timeout(self._dead):
                await self._connection.send(text)
        except TimeoutError as fault:
            self._connection.transport.abort()
            raise ChannelClosedError("the other side takes no data") from fault
        except ConnectionClosed as fault:
            raise _closed(fault) from fault

    async def receive(self) -> str:
        """Wait for the next message. Raises ChannelClosedError, also when the peer is found dead.

        Cancelling is safe: no message is lost.
        """
        while True:
            try:
                async with asyncio.timeout(self._quiet):
                    message = await self._connection.recv()
            except TimeoutError:
                await self._look_for_life()
            except ConnectionClosed as fault:
                raise _closed(fault) from fault
            else:
                self._last_sign = asyncio.get_running_loop().time()
                return message if isinstance(message, str) else message.decode(errors="replace")

    async def close(self, *, code: int = 1000, reason: str = "") -> None:
        """Say good-bye and close; a peer that does not answer within CLOSE_LIMIT seconds is cut. Safe to call twice."""
        try:
            async with asyncio.timeout(CLOSE_LIMIT):
                await self._connection.close(code, reason)
        except TimeoutError:
            self._connection.transport.abort()

    async def _look_for_life(self) -> None:
        """Ask a silent peer, or give it up. Raises ChannelClosedError."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._last_sign >= self._dead:
            self._connection.transport.abort()
            raise ChannelClosedError("the other side is silent")
        if self._asked is None or self._asked.done():
            try:
                asked: asyncio.Future[float] = await self._connection.ping()  # type: ignore[assignment]
            except ConnectionClosed as fault:
                raise _closed(fault) from fault
            asked.add_done_callback(self._answered)
            self._asked = asked

    def _answered(self, pong: "asyncio.Future[float]") -> None:
        if not pong.cancelled() and pong.exception() is None:
            self._last_sign = asyncio.get_running_loop().time()


def _closed(fault: ConnectionClosed) -> ChannelClosedError:
    said = fault.rcvd or fault.sent
    if said is None:
        return ChannelClosedError("the connection was cut")
    return ChannelClosedError(f"the connection was closed: {said.reason or said.code}", close_code=int(said.code))
