"""This file is a stream joined with something else: a TCP connection, or another stream.

Both directions end by themselves: the end of one is passed on, and the other goes on. What cannot be passed on at once
is not acknowledged to the stream's sender, and a queue that is full stops the reading on this side: no byte is kept
beyond the credit. All of it happens in callbacks; a task would cost more than the copying.
"""

import asyncio
import socket
import struct
from typing import NamedTuple, cast

from gateway.kit.errors import GatewayError
from gateway.tunnel.crumbs import dense
from gateway.tunnel.frames import Bytes, Reset
from gateway.tunnel.stream import Stream

HIGH, LOW = 256 * 1024, 64 * 1024
AT_ONCE = 4096
"""Bytes up to which a lone piece is passed on at once; larger ones wait for the others of this turn of the loop."""
CUT_AT_ONCE = struct.pack("ii", 1, 0)


class Counts(NamedTuple):
    """What went through, and why it ended when it was not by both ends."""

    received: int
    """Bytes from the stream."""
    sent: int
    """Bytes to the stream."""
    fault: str | None


class _Joint(asyncio.Protocol):
    """The protocol of the TCP connection and the sink of the stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Bytes] = []
        self._full = False
        self._owed = 0
        self._half = 0
        self.received = 0
        self.sent = 0
        self.fault: str | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # -- from the TCP connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH, low=LOW)
        self._stream.attach(self)

    def data_received(self, data: bytes) -> None:
        self.sent += len(data)
        if not self._stream.offer(data):
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._stream.end()
        self._half_over()
        return True

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        owed, self._owed = self._owed, 0
        self._stream.was_read(owed)

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume_writing()  # what could not be written is held no more
        if self._half < 2 and self.fault is None:
            self.fault = f"the connection was cut: {exc}" if exc else "the connection was cut"
            self._stream.reset(Reset.CANCELLED)
        if not self.over.done():
            self.over.set_result(None)

    # -- from the stream

    def came(self, payload: Bytes) -> None:
        size = len(payload)
        self.received += size
        if size > AT_ONCE or self._waiting:
            if not self._waiting:
                self._loop.call_soon(self._pass_on)
            self._waiting.append(dense(payload))
        else:
            self._transport.write(dense(payload))
            self._acknowledge(size)

    def ended(self) -> None:
        self._pass_on()
        self._transport.write_eof()
        self._half_over()

    def cut(self, fault: GatewayError) -> None:
        if self._half < 2 and self.fault is None:
            self.fault = fault.message
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CUT_AT_ONCE)
        self._transport.abort()

    def room(self) -> None:
        self._transport.resume_reading()

    def _pass_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._transport.writelines(waiting)
            self._acknowledge(sum(map(len, waiting)))

    def _acknowledge(self, size: int) -> None:
        if self._full:
            self._owed += size
        else:
            self._stream.was_read(size)

    def _half_over(self) -> None:
        self._half += 1
        if self._half == 2:
            self._transport.close()

    def give_up(self) -> None:
        """Cut both."""
        self._stream.reset(Reset.CANCELLED)
        self._transport.abort()


async def splice(stream: Stream, connected: socket.socket) -> Counts:
    """Join a stream with a connected socket until both directions have ended; the socket is closed then."""
    loop = asyncio.get_running_loop()
    joint = _Joint(stream)
    if connected.family != socket.AF_UNIX:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await loop.create_connection(lambda: joint, sock=connected)
    try:
        await asyncio.shield(joint.over)
    except asyncio.CancelledError:
        joint.give_up()
        await asyncio.shield(joint.over)
        raise
    return Counts(joint.received, joint.sent, joint.fault)


class _Half:
    """The sink of one of two streams that are joined: what comes on it goes out on the other."""

    def __init__(self, source: Stream, target: Stream) -> None:
        self._source = source
        self._target = target
        self._owed = 0
        self._full = False
        self.other: _Half | None = None
        self.passed = 0
        self.fault: str | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def came(self, payload: Bytes) -> None:
        size = len(payload)
        self.passed += size
        self._full = not self._target.offer(payload) or self._full
        if self._full:
            self._owed += size
        else:
            self._source.was_read(size)

    def ended(self) -> None:
        self._target.end()
        self._finish()

    def cut(self, fault: GatewayError) -> None:
        if not self.over.done():
            self.fault = fault.message
        reason = getattr(fault, "reason", Reset.CANCELLED)
        self._target.reset(reason)
        self._finish()

    def room(self) -> None:
        """The source takes data again, which the other half may wait for."""
        if self.other is not None:
            self.other.passes_again()

    def passes_again(self) -> None:
        self._full = False
        owed, self._owed = self._owed, 0
        self._source.was_read(owed)

    def _finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def join(one: Stream, other: Stream) -> Counts:
    """Join two streams until both directions have ended; counts are from `other` and to it."""
    there, back = _Half(one, other), _Half(other, one)
    there.other, back.other = back, there
    one.attach(there)
    other.attach(back)
    try:
        await asyncio.shield(there.over)
        await asyncio.shield(back.over)
    except asyncio.CancelledError:
        one.reset(Reset.CANCELLED)
        other.reset(Reset.CANCELLED)
        raise
    return Counts(back.passed, there.passed, there.fault or back.fault)
