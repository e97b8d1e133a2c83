"""This file is one open command WebSocket: whole text messages both ways, and a peer that is watched.

The library's own keepalive is off: it counts answers to its last ping only and so cuts a slow link that is
busy delivering. Here every byte that comes is a sign of life, also one of a message that is not whole yet; a peer
that is silent for QUIET seconds is asked, and declared dead when it was last heard DEAD seconds ago.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.answers import retry_after_close
from gateway.tunnel.calling import CLOSE_LIMIT
from gateway.tunnel.liveness import DEAD, QUIET, Look, Pulse

SUBPROTOCOL = "pcg.commands.v1"
REFUSED = 4000
"""The close code of a console that will not have this peer, whenever it calls."""
UNSUPPORTED = 1003


class ChannelClosedError(GatewayError):
    """The channel to the other side is closed."""

    code = "tunnel.closed"
    remedy = Remedy.RETRY


class ChannelRefusedError(ChannelClosedError):
    """The other side has closed the channel and will do so again until somebody does something about it."""

    code = "tunnel.refused"
    remedy = Remedy.OPERATOR


class _Heard(Connection):
    heard_at = 0.0

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)


class HeardClientConnection(_Heard, ClientConnection):
    """A connection that remembers when bytes last came."""


class HeardServerConnection(_Heard, ServerConnection):
    """The same at the other end."""


class Channel:
    """One connection. Exactly one task receives; any task may send."""

    def __init__(
        self,
        connection: HeardClientConnection | HeardServerConnection,
        *,
        quiet: float = QUIET,
        dead: float = DEAD,
        on_first_send: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._on_first_send = on_first_send
        self._pulse = Pulse(quiet, dead, heard_at=asyncio.get_running_loop().time())

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
            async with asyncio.timeout(self._pulse.dead):
                await self._connection.send(text)
        except TimeoutError as fault:
            self._connection.transport.abort()
            raise ChannelClosedError("the other side takes no data") from fault
        except ConnectionClosed as fault:
            raise _closed(fault) from fault
        if self._on_first_send is not None:
            self._on_first_send()
            self._on_first_send = None

    async def receive(self) -> str:
        """Wait for the next message. Raises ChannelClosedError, also when the peer is found dead.

        Cancelling is safe: no message is lost.
        """
        while True:
            try:
                async with asyncio.timeout_at(self._next_look()):
                    message = await self._connection.recv()
            except TimeoutError:
                await self._look_for_life()
            except ConnectionClosed as fault:
                raise _closed(fault) from fault
            else:
                self._pulse.heard(self._connection.heard_at)
                return await self._text(message)

    async def answers(self, *, within: float) -> bool:
        """Ask the other side for a sign of life; tell whether one comes within so many seconds."""
        try:
            async with asyncio.timeout(within):
                await cast("asyncio.Future[float]", await self._connection.ping())
        except (TimeoutError, ConnectionClosed):
            return False
        return True

    async def close(self, *, code: int = 1000, reason: str = "") -> None:
        """Say good-bye and close; a peer that does not answer within CLOSE_LIMIT seconds is cut. Safe to call twice.

        Cancelling cuts it at once.
        """
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT):
                    await self._connection.close(code, reason)
        finally:
            self._connection.transport.abort()

    async def _text(self, message: str | bytes) -> str:
        if isinstance(message, str):
            return message
        await self.close(code=UNSUPPORTED, reason="commands are text")
        raise ChannelClosedError("the other side has sent what is no text", close_code=UNSUPPORTED)

    def _next_look(self) -> float:
        """Return when to look: every QUIET seconds at least, for an answer to a ping wakes nobody."""
        self._pulse.heard(self._connection.heard_at)
        return min(self._pulse.next_look, asyncio.get_running_loop().time() + self._pulse.quiet)

    async def _look_for_life(self) -> None:
        """Ask a silent peer, or give it up. Raises ChannelClosedError."""
        now = asyncio.get_running_loop().time()
        self._pulse.heard(self._connection.heard_at)
        match self._pulse.look(now):
            case Look.ALIVE:
                return
            case Look.ASK:
                self._pulse.asked(now)
                await self._ask()
            case Look.DEAD:
                self._give_up()

    async def _ask(self) -> None:
        try:
            # With every buffer on the way full not even a ping gets out; who does not take it is dead as well.
            async with asyncio.timeout_at(self._pulse.next_look):
                answer = cast("asyncio.Future[float]", await self._connection.ping())
        except TimeoutError:
            self._pulse.heard(self._connection.heard_at)
            if self._pulse.look(asyncio.get_running_loop().time()) is Look.DEAD:
                self._give_up()
        except ConnectionClosed as fault:
            raise _closed(fault) from fault
        else:
            answer.add_done_callback(_forget)

    def _give_up(self) -> None:
        self._connection.transport.abort()
        raise ChannelClosedError("the other side is silent")


def _forget(answer: "asyncio.Future[float]") -> None:
    """Look at the answer's error, so that nobody complains that nobody did: any byte tells what an answer would."""
    if not answer.cancelled():
        answer.exception()


def _closed(fault: ConnectionClosed) -> ChannelClosedError:
    said = fault.rcvd or fault.sent
    if said is None:
        return ChannelClosedError("the connection was cut")
    message = f"the connection was closed: {said.reason or said.code}"
    wait = retry_after_close(said.reason) if fault.rcvd else None
    kind = ChannelRefusedError if fault.rcvd and said.code == REFUSED else ChannelClosedError
    return kind(message, close_code=int(said.code), retry_after=wait)
