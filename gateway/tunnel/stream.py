"""This file is one stream as the two programs at its ends see it: bytes both ways, each direction ending by itself."""

import asyncio
from collections import deque
from typing import Protocol, TypeAlias

from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.crumbs import append
from gateway.tunnel.frames import Bytes, Reset
from gateway.tunnel.happenings import Data, Ended, Room, WasReset
from gateway.tunnel.limits import PREAMBLE, REPLY
from gateway.tunnel.mux import Mux
from gateway.tunnel.schedule import Lane

LENGTH = 2
FAREWELL = 5.0
"""Seconds in which whoever opened a refused stream is to end it."""


class StreamResetError(GatewayError):
    """The stream was cut."""

    code = "tunnel.stream_reset"
    remedy = Remedy.RETRY

    def __init__(self, message: str, reason: Reset) -> None:
        super().__init__(message, reason=reason.name.lower())
        self.reason = reason


class StreamEndedError(GatewayError):
    """Somebody writes to a stream whose direction was ended here."""

    code = "tunnel.stream_ended"


class BlockBrokenError(GatewayError):
    """What a stream begins with is not a preamble, or not the answer to one."""

    code = "tunnel.preamble_broken"


class Sink(Protocol):
    """Who takes what comes on a stream. Nothing here may raise."""

    def came(self, payload: Bytes) -> None:
        """Data came. Call `Stream.was_read` when it is taken."""

    def ended(self) -> None:
        """The peer sends no more."""

    def cut(self, fault: GatewayError) -> None:
        """The stream is gone, both ways."""

    def room(self) -> None:
        """The queue takes data again, after `Stream.offer` said it was full."""


class Owner(Protocol):
    """What a stream needs of its session."""

    mux: Mux

    def now(self) -> float:
        """Seconds, as the mux counts them."""

    def flush_soon(self) -> None:
        """Send what the mux has to send."""

    def forget(self, stream: "Stream") -> None:
        """The stream is over."""


class Stream:
    """Use `read`, `write` and `end` from tasks; or `attach` a sink of your own, for speed, and use `offer`."""

    def __init__(self, owner: Owner, stream_id: int) -> None:
        self.id = stream_id
        self.received = 0
        """Bytes that came, the preamble or reply included."""
        self.sent = 0
        """Bytes handed over, likewise."""
        self.fault: GatewayError | None = None
        """Why the stream was cut; None while it was not."""
        self.answered = False
        """Whether its opener was told what became of it."""
        self.over_since: float | None = None
        """When both ends had ended it; what is queued then still goes out."""
        self._owner = owner
        self._inbox = _Inbox()
        self._sink: Sink = self._inbox
        self._peer_ended = False
        self._ended = False

    # -- for tasks

    async def read(self, limit: int = 65536) -> Bytes:
        """Wait for data and return at most `limit` bytes; nothing at all when the peer has ended.

        Raises StreamResetError or SessionClosedError. Only one task may read.
        """
        piece = await self._inbox.take(limit)
        self.was_read(len(piece))
        return piece

    async def write(self, data: Bytes) -> None:
        """Send data; waits while the queue is full. Raises StreamResetError or SessionClosedError."""
        self._inbox.raise_if_cut()
        if self._ended:
            raise StreamEndedError("the stream was ended here: nothing more is sent on it")
        if not self.offer(data):
            await self._inbox.until_room()

    def end(self) -> None:
        """Say that we send no more; the other direction goes on. Safe to call twice."""
        if not self._ended:
            self._ended = True
            self._owner.mux.end(self.id, self._owner.now())
            self._owner.flush_soon()
            self._note_if_over()

    def reset(self, reason: Reset = Reset.CANCELLED) -> None:
        """Cut the stream, both ways, at once. Safe to call twice.

        After both ends what is queued still goes out, and what has come and was not read is dropped.
        """
        if self.fault is not None:
            return
        if self.over_since is not None and not self._owner.mux.is_unread(self.id):
            return
        self._owner.mux.reset(self.id, reason)
        self._owner.flush_soon()
        self.was_cut(StreamResetError("the stream was closed here", reason), drops=True)

    def answer(self, reply: bytes) -> None:
        """Say what became of the stream; the opener waits for it before it sends anything."""
        self.answered = True
        self._owner.mux.answered(self.id)
        self.offer(block(reply, limit=REPLY))

    def set_lane(self, lane: Lane) -> None:
        """Say what the stream is for, once its opener has told."""
        self._owner.mux.set_lane(self.id, lane)

    async def read_block(self, limit: int) -> bytes:
        """Read the preamble or reply that the stream begins with. Raises BlockBrokenError, StreamResetError."""
        size = int.from_bytes(await self._exactly(LENGTH), "big")
        if size > limit:
            raise BlockBrokenError(f"the stream begins with {size} bytes of preamble, at most {limit} are read")
        return await self._exactly(size)

    # -- for sinks

    def attach(self, sink: Sink) -> None:
        """Hand everything from now on to a sink of your own, first what has come and was not read."""
        self._sink = sink
        for piece in self._inbox.drain():
            sink.came(piece)
        if self.fault is not None:
            sink.cut(self.fault)
        elif self._peer_ended:
            sink.ended()

    def offer(self, data: Bytes) -> bool:
        """Queue data; False when the sender should wait for `Sink.room`."""
        self.sent += len(data)
        room = self._owner.mux.send(self.id, data, self._owner.now())
        self._owner.flush_soon()
        return room

    def was_read(self, size: int) -> None:
        """Say that data was taken, so that the peer may send more."""
        if size:
            self._owner.mux.read(self.id, size, self._owner.now())
            self._owner.flush_soon()
            self._forget_if_read()

    # -- for the session

    def came(self, payload: Bytes) -> None:
        """Data came."""
        self.received += len(payload)
        self._sink.came(payload)

    def peer_ended(self) -> None:
        """The peer sends no more."""
        self._peer_ended = True
        self._sink.ended()
        self._note_if_over()

    def room(self) -> None:
        """The queue takes data again."""
        self._sink.room()

    def was_cut(self, fault: GatewayError, *, drops: bool = False) -> None:
        """The stream is gone; `drops` says that what came and was not read is too, though both ends had ended it."""
        if self.fault is None:
            self.fault = fault
            if self.over_since is None or drops:  # what both ends have ended, nobody has to be told of
                self._inbox.cut(fault)
                if self._sink is not self._inbox:
                    self._sink.cut(fault)
            self._owner.forget(self)

    def _note_if_over(self) -> None:
        if self._ended and self._peer_ended and self.over_since is None:
            self.over_since = self._owner.now()
            self._forget_if_read()

    def _forget_if_read(self) -> None:
        """After both ends, and all that came: the last word may be heard before the last byte is read, or behind it."""
        if self.over_since is not None and not self._owner.mux.knows(self.id):
            self._owner.forget(self)

    async def _exactly(self, size: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < size:
            piece = await self.read(size - len(pieces))
            if not piece:
                raise BlockBrokenError("the stream ended before it said what it is for")
            pieces += piece
        return bytes(pieces)


class _Inbox:
    """The sink of those who read by awaiting."""

    def __init__(self) -> None:
        self._pieces: deque[Bytes] = deque()
        self._ended = False
        self._fault: GatewayError | None = None
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def came(self, payload: Bytes) -> None:
        append(self._pieces, payload)
        _wake(self._news)

    def ended(self) -> None:
        self._ended = True
        _wake(self._news)

    def cut(self, fault: GatewayError) -> None:
        self._fault = fault
        if isinstance(fault, StreamResetError):
            self._pieces.clear()
        _wake(self._news)
        _wake(self._room)

    def room(self) -> None:
        _wake(self._room)

    def drain(self) -> list[memoryview]:
        pieces = [memoryview(piece) for piece in self._pieces]
        self._pieces.clear()
        return pieces

    def raise_if_cut(self) -> None:
        if self._fault is not None:
            raise self._fault.with_traceback(None)

    async def take(self, limit: int) -> Bytes:
        while not self._pieces:
            self.raise_if_cut()
            if self._ended:
                return b""
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        piece = memoryview(self._pieces.popleft())
        if len(piece) > limit:
            self._pieces.appendleft(piece[limit:])
            piece = piece[:limit]
        return piece

    async def until_room(self) -> None:
        if self._room is None or self._room.done():
            self._room = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._room)  # others may wait for it too
        self.raise_if_cut()


_Waiting: TypeAlias = "asyncio.Future[None] | None"


def _wake(future: _Waiting) -> None:
    if future is not None and not future.done():
        future.set_result(None)


async def farewell(stream: Stream, reply: bytes) -> None:
    """Answer a stream that is refused and see to it that none is left; what still comes on it is dropped."""
    if stream.fault is not None:
        return
    stream.answer(reply)
    stream.end()
    try:
        async with asyncio.timeout(FAREWELL):
            while await stream.read():
                pass
    except (TimeoutError, GatewayError):
        stream.reset(Reset.REFUSED_POLICY)


def block(content: bytes, *, limit: int = PREAMBLE) -> bytes:
    """Return a preamble or reply with its length in front. Raises BlockBrokenError."""
    if len(content) > limit:
        raise BlockBrokenError(f"a preamble of {len(content)} bytes does not fit, {limit} do")
    return len(content).to_bytes(LENGTH, "big") + content


def tell(stream: Stream, happening: Data | Room | Ended | WasReset) -> None:
    """Hand a stream what has happened to it."""
    match happening:
        case Data(_, payload):
            stream.came(payload)
        case Room():
            stream.room()
        case Ended():
            stream.peer_ended()
        case WasReset(_, reason, here):
            text = f"{'this' if here else 'the other'} side cut the stream: {reason.name.lower().replace('_', ' ')}"
            stream.was_cut(StreamResetError(text, reason), drops=here)
