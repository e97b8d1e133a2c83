"""This file is many streams over one byte road: what a frame that comes means, and which one goes next.

It is pure: no asyncio, no clock, no socket. `receive` takes bytes and returns what happened; `take` gives the bytes
that should go out now. Times are seconds of any clock that does not go back.

::

                 SYN --> ACK                          each direction ends by itself:
    (nothing) ---------------> open                      ours    open -- FIN sent --> ended
                                 |  \\                     theirs  open -- FIN came --> ended
                                 |   RST, either way     both ended, or reset: gone, its id is remembered
                                 v
                               gone

A fault of one stream resets that stream. The session ends (ProtocolBrokenError) only when frames cannot be trusted
any more: malformed, wrong parity, beyond credit, a flood.
"""

from collections import OrderedDict

from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel import frames, windows
from gateway.tunnel.buckets import Bucket
from gateway.tunnel.crumbs import SMALL
from gateway.tunnel.frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    LARGEST_ID,
    PING,
    RST,
    SYN,
    WINDOW,
    Bytes,
    FrameReader,
    GoAway,
    ProtocolBrokenError,
    Reset,
)
from gateway.tunnel.happenings import Data, Ended, Gone, GoneAway, Happening, Opened, Room, WasReset
from gateway.tunnel.limits import FIRST_WINDOW, QUEUED_CONTROLS, SMALL_FRAME, TOMBSTONES, Limits
from gateway.tunnel.outgoing import Outgoing
from gateway.tunnel.pace import Pace
from gateway.tunnel.schedule import Lane
from gateway.tunnel.streamstate import StreamState
from gateway.tunnel.windows import Budget, ReceiveWindow

BYTES_PER_TOKEN = 16 * 1024
"""Bytes of data that earn a peer one more PING and one more control frame."""
TOKENS_PER_STREAM = 3
"""Control frames that a stream costs which is opened, answered and ended; who wants such a stream pays for them."""


class NoMoreStreamsError(GatewayError):
    """A stream cannot be opened on this session."""

    code = "tunnel.no_more_streams"
    remedy = Remedy.RETRY


class Mux:
    """One end of a session. The dialler opens odd ids, the acceptor even ones."""

    def __init__(self, *, dialler: bool, now: float, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._parity = 1 if dialler else 0
        self._next_id = 1 if dialler else 2
        self._last_peer_id = 0
        self._streams: dict[int, StreamState] = {}
        self._unread: dict[int, StreamState] = {}
        """Streams that both ends have ended, and whose last data nobody has read yet: the wire knows them no more."""
        self._gone: OrderedDict[int, None] = OrderedDict()
        self._unanswered = 0
        self._reader = FrameReader(self._frame, largest=self._limits.frame)
        self._budget = Budget(self._limits.budget)
        self._pings_allowed = Bucket(rate=self._limits.pings, depth=2 * self._limits.pings, now=now)
        self._controls_allowed = Bucket(rate=self._limits.controls, depth=4 * self._limits.controls, now=now)
        self._smalls_allowed = Bucket(rate=self._limits.smalls, depth=2 * self._limits.smalls, now=now)
        self._smalls = 0
        self._happened: list[Happening] = []
        self._now = now
        self._going = False
        self.rest = 0.0
        """Seconds for which nothing more should be taken from the peer, after the last `receive`."""
        self.pace = Pace(now)
        self._out = Outgoing(self.pace)

    # -- what is there

    @property
    def streams(self) -> int:
        """Streams that are open, at least in one direction."""
        return len(self._streams)

    @property
    def held(self) -> int:
        """Bytes received and not yet read, all streams together."""
        return self._budget.held

    def queued(self, stream_id: int) -> int:
        """Bytes of a stream that wait to be sent; 0 when it is gone."""
        stream = self._streams.get(stream_id)
        return stream.queued if stream else 0

    def is_unread(self, stream_id: int) -> bool:
        """Tell whether a stream is over, but for data that came and nobody has read."""
        return stream_id in self._unread

    def knows(self, stream_id: int) -> bool:
        """Tell whether there is anything left of a stream: an open direction, or data that nobody has read."""
        return stream_id in self._streams or stream_id in self._unread

    @property
    def last_id(self) -> int:
        """The highest stream id that either end has used."""
        return max(self._next_id - 2, self._last_peer_id)

    # -- what comes in

    def receive(self, message: bytes, now: float) -> list[Happening]:
        """Take bytes from the peer and return what happened. Raises ProtocolBrokenError: the session is over."""
        self._now = now
        self._smalls = 0
        self._reader.feed(message)
        if len(message) < SMALL_FRAME:
            self._smalls = max(self._smalls, 1)
        self.rest = self._smalls_allowed.owe(self._smalls, now) if self._smalls else 0.0
        while self._budget.is_overdrawn:
            self._cut_the_most_stalled()
        if self._out.waiting > QUEUED_CONTROLS:
            raise ProtocolBrokenError("the peer has us answer without end and takes none of it")
        happened, self._happened = self._happened, []
        return happened

    def _frame(  # noqa: PLR0917 - a frame's fields
        self, kind: int, flags: int, stream_id: int, length: int, payload: Bytes
    ) -> None:
        if kind == DATA and not flags and length:
            stream = self._streams.get(stream_id)
            if stream is not None and not stream.peer_ended:
                self._data(stream, payload)
                return
        if kind == PING:
            self._ping(flags, length)
        elif kind == GO_AWAY:
            self._pay_control()
            self._happened.append(GoneAway(length))
        else:
            self._on_stream(kind, flags, stream_id, length, payload)

    def _data(self, stream: StreamState, payload: Bytes) -> None:
        size = len(payload)
        self._smalls += size < SMALL_FRAME
        if not stream.window.held:
            stream.read_at = self._now  # who had nothing to read has not been idle
        stream.window.received(size)
        self._pay(size / BYTES_PER_TOKEN)
        self._pings_allowed.pay(size / BYTES_PER_TOKEN)
        self._happened.append(Data(stream.id, payload))

    def _pay(self, tokens: float) -> None:
        self._controls_allowed.pay(tokens)
        self._smalls_allowed.pay(tokens)

    def _on_stream(  # noqa: PLR0917 - a frame's fields
        self, kind: int, flags: int, stream_id: int, length: int, payload: Bytes
    ) -> None:
        if flags or kind == WINDOW or not length:
            self._pay_control()
        if flags & SYN:
            self._opened_by_peer(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._to_nobody(kind, flags, stream_id, length)
            return
        if flags & RST:
            self._forget(stream)
            self._happened.append(WasReset(stream_id, Reset.read(length if kind == WINDOW else 0)))
            return
        if kind == DATA and length:
            if stream.peer_ended:
                self.reset(stream_id, Reset.UNSPECIFIED)
                self._happened.append(WasReset(stream_id, Reset.UNSPECIFIED, here=True))
                return
            self._data(stream, payload)
        elif kind == WINDOW and length:
            stream.credit = windows.added(stream.credit, length)
            self._out.wake(stream, self._now)
        if flags & FIN and not stream.peer_ended:
            stream.peer_ended = True
            self._happened.append(Ended(stream_id))
            self._forget_if_over(stream)

    def _opened_by_peer(self, stream_id: int) -> None:
        if stream_id % 2 == self._parity:
            raise ProtocolBrokenError(f"the peer opens stream {stream_id}: those ids are ours")
        if stream_id <= self._last_peer_id:
            raise ProtocolBrokenError(f"the peer opens stream {stream_id} after stream {self._last_peer_id}")
        self._last_peer_id = stream_id
        if self._going or self._is_busy():
            self._refuse(stream_id)
            return
        stream = self._new(stream_id, Lane.AUTO)
        stream.answered = False
        self._unanswered += 1
        self._out.say(frames.pack(WINDOW, ACK, stream_id, 0))
        self._happened.append(Opened(stream_id))

    def _is_busy(self) -> bool:
        return (
            len(self._streams) + len(self._unread) >= self._limits.streams
            or self._unanswered >= self._limits.unanswered
            or not self._budget.allows_streams
        )

    def _refuse(self, stream_id: int) -> None:
        self._remember(stream_id)
        self._out.say(frames.pack(WINDOW, RST, stream_id, Reset.BUSY))

    def _to_nobody(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        """A frame for a stream that is gone is harmless; one for a stream that never was is answered with RST."""
        if flags & RST:
            return
        if stream_id in self._gone:
            if kind == DATA and not flags and 0 < length < SMALL:
                self._pay_control()  # others have paid
            return
        if kind == DATA and length > FIRST_WINDOW:
            raise ProtocolBrokenError(f"{length} bytes for stream {stream_id}, which is not open")
        self._pay_control()
        self._remember(stream_id)
        self._out.say(frames.pack(WINDOW, RST, stream_id, Reset.UNSPECIFIED))

    def _ping(self, flags: int, value: int) -> None:
        if flags & ACK:
            if not self.pace.echoed(value, self._now):
                self._pay_control()
            return
        if not self._pings_allowed.take(self._now):
            raise ProtocolBrokenError("the peer floods with PING")
        self._out.echo(value)

    def _pay_control(self) -> None:
        if not self._controls_allowed.take(self._now):
            raise ProtocolBrokenError("the peer floods with frames that carry nothing")

    def _cut_the_most_stalled(self) -> None:
        holders = [*(stream for stream in self._streams.values() if stream.window.held), *self._unread.values()]
        stalled = min(holders, key=lambda stream: stream.read_at)
        self.reset(stalled.id, Reset.BUSY)
        self._happened.append(WasReset(stalled.id, Reset.BUSY, here=True))

    # -- what goes out

    def open(self, lane: Lane, now: float) -> int:
        """Open a stream and return its id. Raises NoMoreStreamsError."""
        if self._going or self._next_id > LARGEST_ID:
            raise NoMoreStreamsError("the session is going away: open the stream on the next one")
        if len(self._streams) >= self._limits.streams:
            raise NoMoreStreamsError(f"{len(self._streams)} streams are open, the most a session takes: close some")
        self._now = now
        stream = self._new(self._next_id, lane)
        self._next_id += 2
        self._out.opens(stream)
        self._controls_allowed.pay(TOKENS_PER_STREAM)
        return stream.id

    def send(self, stream_id: int, data: Bytes, now: float) -> bool:
        """Queue data; False when the stream's queue is full, and a Room happening will tell when it is not.

        Data for a stream that is gone, or whose direction was ended, goes nowhere.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.ending:
            return True
        return self._out.queue(stream, data, now)

    def end(self, stream_id: int, now: float) -> None:
        """Say that nothing follows what is queued. Twice is as good as once."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.ending:
            return
        stream.ending = True
        if not stream.queue:
            self._now = now
            self._say_end(stream)

    def reset(self, stream_id: int, reason: Reset) -> None:
        """Cut a stream, both directions; what was queued, or has come and was not read, is dropped."""
        if (unread := self._unread.pop(stream_id, None)) is not None:
            unread.window.dropped()
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        self._forget(stream)
        if stream.flags & SYN == 0:
            self._out.say(frames.pack(WINDOW, RST, stream_id, reason))

    def read(self, stream_id: int, size: int, now: float) -> None:
        """Take note that data was read, so that the peer may send more."""
        stream = self._streams.get(stream_id) or self._unread.get(stream_id)
        if stream is None:
            return
        stream.read_at = now
        credit = stream.window.read(size, now=now, round_trip=self.pace.round_trip)
        if credit and not stream.peer_ended:
            self._out.grant(stream, credit)
        if not stream.window.held:
            self._unread.pop(stream_id, None)

    def answered(self, stream_id: int) -> None:
        """Take note that a stream of the peer was answered; streams that are not are limited in number."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.answered:
            stream.answered = True
            self._unanswered -= 1

    def set_lane(self, stream_id: int, lane: Lane) -> None:
        """Say what a stream is for, once its opener has told."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.lane = lane

    def ping(self, now: float) -> None:
        """Ask the peer for a sign of life."""
        self._out.say(frames.pack(PING, SYN, 0, self.pace.marker(now)))

    def go_away(self, code: GoAway = GoAway.NORMAL) -> None:
        """Say that no new streams are opened or taken; those that are open go on."""
        if not self._going or code:
            self._going = True
            self._out.say(frames.pack(GO_AWAY, 0, 0, code))

    def stop_opening(self) -> None:
        """Open no more streams, because the peer goes away."""
        self._next_id = LARGEST_ID + 1

    def take(self, room: int, now: float) -> tuple[list[Bytes], list[Happening]]:
        """Return the bytes to send now, whole frames, about `room` of them; and what has happened by that."""
        taken = self._out.take(room, now)
        self._pay(taken.data / BYTES_PER_TOKEN)
        for stream in taken.ended:
            self._forget_if_over(stream)
        happened, self._happened = self._happened, []
        # Room comes first: who waits for it has something to acknowledge also when the stream is gone by now.
        return taken.pieces, [*(Room(number) for number in taken.roomy), *happened]

    # -- the streams

    def _new(self, stream_id: int, lane: Lane) -> StreamState:
        window = ReceiveWindow(self._budget, largest=self._limits.window, now=self._now)
        stream = StreamState(stream_id, lane, window, read_at=self._now)
        self._streams[stream_id] = stream
        return stream

    def _say_end(self, stream: StreamState) -> None:
        self._out.say_end(stream)
        self._forget_if_over(stream)

    def _forget_if_over(self, stream: StreamState) -> None:
        if stream.ended and stream.peer_ended:
            if stream.window.held:
                self._unread[stream.id] = stream
            else:
                self._happened.append(Gone(stream.id))
            self._forget(stream)
            if stream.id % 2 != self._parity:
                self._controls_allowed.pay(TOKENS_PER_STREAM)

    def _forget(self, stream: StreamState) -> None:
        del self._streams[stream.id]
        self._out.drop(stream)
        if stream.id not in self._unread:
            stream.window.dropped()
        self._waits_no_more(stream)
        self._remember(stream.id)

    def _waits_no_more(self, stream: StreamState) -> None:
        """A stream that is gone waits for no answer."""
        if not stream.answered:
            stream.answered = True
            self._unanswered -= 1

    def _remember(self, stream_id: int) -> None:
        self._gone[stream_id] = None
        if len(self._gone) > TOMBSTONES:
            self._gone.popitem(last=False)
