"""This file is how a data WebSocket begins: the handshake is the `websockets` library's, both ends, then we take over.

The dialler runs the library's sans-IO core. At the console the library's own server answers, on the port that command
WebSockets use too; a connection that agreed on SUBPROTOCOL keeps what comes behind the handshake, and its transport is
handed to an Engine.
"""

import asyncio
from collections.abc import Mapping
from typing import cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidMessage
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from gateway.tunnel.channel import HeardServerConnection
from gateway.tunnel.engine import Engine

SUBPROTOCOL = "pcg.yamux.v1"
LARGEST_ANSWER = 32 * 1024
HEAD_END = b"\r\n\r\n"
BODY_HEADERS = (b"content-length:", b"transfer-encoding:")


class Handshake(asyncio.Protocol):
    """Asks for a data WebSocket on a fresh transport; `done` is its engine, or how the handshake failed."""

    def __init__(self, uri: WebSocketURI, headers: Mapping[str, str]) -> None:
        self.done: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
        self._protocol = ClientProtocol(uri, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=LARGEST_ANSWER)
        self._headers = headers
        self._answer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there: ask."""
        self._transport = cast("asyncio.Transport", transport)
        request = self._protocol.connect()
        request.headers.update(self._headers)
        self._protocol.send_request(request)
        self._transport.write(b"".join(self._protocol.data_to_send()))

    def data_received(self, data: bytes) -> None:
        """Part of the answer came."""
        self._answer += data
        at = self._answer.find(HEAD_END)
        if at < 0 and len(self._answer) <= LARGEST_ANSWER:
            return
        if at < 0 or not self._answer.startswith(b"HTTP/1.1 101"):
            self._refused(at)
            return
        head = self._answer[: at + len(HEAD_END)]
        self._protocol.receive_data(bytes(head))
        fault = self._protocol.handshake_exc
        if self._protocol.state is State.OPEN and fault is None:
            self._succeed(bytes(self._answer[len(head) :]))
        else:
            self._fail(fault or InvalidMessage("the answer is no WebSocket handshake"))

    def _refused(self, at: int) -> None:
        """Take in an answer that is no handshake; its body goes unread, what counts is in its head."""
        lines = bytes(self._answer[:at]).split(b"\r\n") if at >= 0 else [bytes(self._answer)]
        kept = [line for line in lines if not line.lower().startswith(BODY_HEADERS)]
        self._protocol.receive_data(b"\r\n".join([*kept, b"Content-Length: 0", b"", b""]))
        self._protocol.receive_eof()
        self._fail(self._protocol.handshake_exc or InvalidMessage("the answer is no WebSocket handshake"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed before the handshake is over."""
        self._fail(exc or InvalidMessage("the connection was closed in the middle of the handshake"))

    def _succeed(self, already: bytes) -> None:
        if self._protocol.subprotocol != SUBPROTOCOL:
            self._fail(InvalidHandshake(f"the other side does not speak {SUBPROTOCOL}"))
        elif not self.done.done():
            self._transport.pause_reading()
            self.done.set_result(Engine(self._transport, dialler=True, already=already))

    def _fail(self, fault: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(fault)
            self._transport.abort()


class SharedConnection(HeardServerConnection):
    """A connection of the library's server that may turn out to be a data WebSocket."""

    _behind = b""
    _engine: Engine | None = None

    @property
    def is_data(self) -> bool:
        """Whether a data WebSocket was agreed on."""
        return self.protocol.state is State.OPEN and self.protocol.subprotocol == SUBPROTOCOL

    def data_received(self, data: bytes) -> None:
        """Bytes came: the library's as long as it speaks, ours behind the handshake of a data WebSocket."""
        if not self.is_data:
            super().data_received(data)
        elif self._engine is None:
            self._behind += data
            self.transport.pause_reading()
        else:
            self._engine.fed(data)

    def take_over(self) -> Engine:
        """Return the carrier that this connection is from now on."""
        self._engine = Engine(self.transport, dialler=False, already=self._behind)
        self._engine.after_lost = self.connection_lost
        return self._engine
