"""This file is one data WebSocket on an asyncio transport: the fast carrier of a session.

The handshake is the `websockets` library's sans-IO core (client) or its server; then this protocol takes the
transport over. How much may wait there, where nothing can be overtaken any more, is the in-flight cap's to say.
"""

import asyncio
import ssl
from collections.abc import Callable

from gateway.tunnel import websocket
from gateway.tunnel.buckets import Bucket
from gateway.tunnel.carrier import Receiver
from gateway.tunnel.frames import Bytes
from gateway.tunnel.roads import tune
from gateway.tunnel.websocket import CLOSE, PING, Control, Reader, WebSocketBrokenError, Writer

KINDLY = (websocket.NORMAL, 1001)
"""Close codes that blame nobody: what is under way is read to its end, and the peer's good-bye with it."""
WRITE_HIGH, WRITE_LOW = 256 * 1024, 64 * 1024
GOODBYE_LIMIT = 5.0
PINGS_PER_SECOND = 10.0
IGNORED = 1024 * 1024
"""Bytes that a peer which broke the rules may still send unread; then nothing more is taken off the network."""


class Engine(asyncio.BufferedProtocol):
    """A carrier. `dialler` tells whether we mask; `already` is what came behind the handshake."""

    def __init__(self, transport: asyncio.Transport, *, dialler: bool, already: bytes = b"") -> None:
        loop = asyncio.get_running_loop()
        self._transport = transport
        self._loop = loop
        self._receiver: Receiver | None = None
        self._writer = Writer(masks=dialler)
        self._reader = Reader(masked=not dialler, on_payload=self._payload, on_control=self._control)
        self._pings = Bucket(rate=PINGS_PER_SECOND, depth=4 * PINGS_PER_SECOND, now=loop.time())
        self._goodbye: asyncio.TimerHandle | None = None
        self._said = ""
        self._closing = False
        self._may_still_send: int | None = None
        self._deaf = False
        self._resting: asyncio.TimerHandle | None = None
        self._writable = True
        self._owed_pong: bytes | None = None
        self._already = already
        self.after_lost: Callable[[Exception | None], None] | None = None
        """Called when the transport is closed; who had the transport before us may want to know."""

    def begin(self, receiver: Receiver) -> None:
        """Take the transport over."""
        self._receiver = receiver
        self._transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        tune(self._transport.get_extra_info("socket"))
        self._transport.set_protocol(self)
        already, self._already = self._already, b""
        if already:
            self.fed(already)
        self._transport.resume_reading()

    # -- Carrier

    @property
    def writable(self) -> bool:
        """False while the transport's buffer is full."""
        return self._writable and not self._closing

    @property
    def peer_certificate(self) -> bytes:
        """The peer's verified certificate in DER; empty when it showed none."""
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        return (tls.getpeercert(binary_form=True) or b"") if tls is not None else b""

    @property
    def peer_address(self) -> str:
        """Where the peer calls from, for logs."""
        address = self._transport.get_extra_info("peername")
        return str(address[0]) if address else "unknown"

    def send(self, pieces: list[Bytes]) -> None:
        """Send one binary message."""
        if not self._closing:
            self._transport.write(self._writer.message(pieces))

    def rest(self, seconds: float) -> None:
        """Read nothing for so long."""
        if self._resting is None and not self._closing:
            self._transport.pause_reading()
            self._resting = self._loop.call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._resting = None
        if not self._deaf and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame; the connection is cut when the peer answers, or GOODBYE_LIMIT later."""
        if self._closing:
            return
        self._closing = True
        if code not in KINDLY:
            self._may_still_send = IGNORED
        self._said = self._said or reason
        self._transport.write(self._writer.close(code, reason))
        self._goodbye = self._loop.call_later(GOODBYE_LIMIT, self._transport.abort)

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._transport.abort()

    # -- asyncio.BufferedProtocol

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where the next bytes go."""
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        self._heard()
        self._ignore(nbytes)
        try:
            self._reader.filled(nbytes)
        except WebSocketBrokenError as fault:
            self._broken(fault)

    def fed(self, data: bytes) -> None:
        """Bytes have come another way than through the buffer."""
        self._heard()
        self._ignore(len(data))
        try:
            self._reader.feed(data)
        except WebSocketBrokenError as fault:
            self._broken(fault)

    def eof_received(self) -> None:
        """The peer closed its side; TLS has no half-close that we would use."""

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        self._writable = True
        if self._receiver is not None and not self._closing:
            self._pay_pong()
            self._receiver.writable_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed."""
        self._closing = True
        for timer in (self._goodbye, self._resting):
            if timer is not None:
                timer.cancel()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(self._said or (str(exc) if exc else "the connection was cut"))
        if self.after_lost is not None:
            self.after_lost(exc)

    def _ignore(self, size: int) -> None:
        """Stop reading what a peer that broke the rules pours in: to decrypt it would cost as much as to obey."""
        if self._may_still_send is not None:
            self._may_still_send -= size
            if self._may_still_send < 0:
                self._may_still_send, self._deaf = None, True
                self._transport.pause_reading()

    def _heard(self) -> None:
        """Any byte is a sign of life: a large message takes a slow link longer than a peer may be silent."""
        if self._receiver is not None:
            self._receiver.heard()

    def _payload(self, payload: bytes) -> None:
        if self._receiver is not None and not self._closing:
            self._receiver.received(payload)

    def _control(self, frame: Control) -> None:
        if frame.opcode == CLOSE:
            code = int.from_bytes(frame.payload[:2], "big") if len(frame.payload) >= 2 else websocket.NORMAL
            said = frame.payload[2:].decode(errors="replace")
            self._said = self._said or f"the other side closed the connection: {said or code}"
            self.close(websocket.NORMAL)
            self._transport.close()
            return
        if not self._pings.take(self._loop.time()):
            raise WebSocketBrokenError("the peer floods with control frames", close_code=websocket.POLICY)
        if frame.opcode == PING and not self._closing:
            self._pong(frame.payload)

    def _pong(self, payload: bytes) -> None:
        """Answer a ping; while the peer takes nothing, only the newest, as RFC 6455 (5.5.3) allows."""
        self._owed_pong = payload
        if self._writable:
            self._pay_pong()

    def _pay_pong(self) -> None:
        payload, self._owed_pong = self._owed_pong, None
        if payload is not None:
            self._transport.write(self._writer.message([payload], opcode=websocket.PONG))

    def _broken(self, fault: WebSocketBrokenError) -> None:
        self._said = self._said or fault.message
        self._reader.stop()
        self.close(fault.close_code, fault.message)
        self._transport.close()
