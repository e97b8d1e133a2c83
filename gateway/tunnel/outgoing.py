"""This file is what goes out next: answers to PING, then control frames, then data by turn and as far as the cap lets.

It is pure; times are seconds of any clock that does not go back.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from gateway.tunnel import frames
from gateway.tunnel.crumbs import append
from gateway.tunnel.frames import ACK, DATA, FIN, PING, SYN, WINDOW, Bytes, ProtocolBrokenError
from gateway.tunnel.limits import INTERACTIVE_FRAME, QUEUED_PONGS
from gateway.tunnel.pace import Pace
from gateway.tunnel.schedule import Schedule
from gateway.tunnel.streamstate import StreamState

QUEUE_FULL, QUEUE_LOW = 128 * 1024, 64 * 1024
"""Bytes that wait to be sent on one stream: from the first on the sender should pause, below the second go on."""
OVERDRAFT = 64 * 1024
"""Bytes that lively streams may have under way beyond the cap."""


@dataclass(slots=True)
class Taken:
    """What is to be sent now, in pieces that make whole frames, and what that has changed."""

    pieces: list[Bytes] = field(default_factory=list)
    data: int = 0
    """Bytes of payload among them."""
    roomy: list[int] = field(default_factory=list)
    """Streams whose queue was full and takes data again."""
    ended: list[StreamState] = field(default_factory=list)
    """Streams whose last frame is among them."""


class Outgoing:
    """The queues of one end of a session."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._controls: deque[Bytes | StreamState] = deque()
        """Frames that are ready, and streams whose credit is told when their turn comes: all of it in one frame."""
        self._pongs: deque[int] = deque()
        self._unheard_of: deque[StreamState] = deque()
        """Streams we have opened and not said anything about, in the order of their ids."""
        self._schedule = Schedule()

    @property
    def waiting(self) -> int:
        """Frames without data that wait to be sent."""
        return len(self._controls)

    def say(self, frame: bytes) -> None:
        """Queue a frame that carries no data."""
        self._controls.append(frame)

    def grant(self, stream: StreamState, credit: int) -> None:
        """Queue a WINDOW_UPDATE; one of the stream that waits already takes the credit in."""
        if not stream.granting:
            self._controls.append(stream)
        stream.granting += credit

    def echo(self, value: int) -> None:
        """Queue the answer to a PING. Raises ProtocolBrokenError when the peer asks faster than it takes answers."""
        if len(self._pongs) >= QUEUED_PONGS:
            raise ProtocolBrokenError("the peer floods with PING and does not take the answers")
        self._pongs.append(value)

    def opens(self, stream: StreamState) -> None:
        """Have SYN go with the first frame of a stream of ours."""
        stream.flags = SYN
        self._unheard_of.append(stream)

    def say_end(self, stream: StreamState) -> None:
        """Queue the end of a stream that has nothing more to send."""
        self._introduce(stream, self._controls.append)
        self.say(frames.pack(DATA, FIN | stream.first_flags(), stream.id, 0))
        stream.ended = True

    def queue(self, stream: StreamState, data: Bytes, now: float) -> bool:
        """Queue data; False when the stream's queue is full."""
        size = len(data)
        if size:
            append(stream.queue, data)
            stream.queued += size
            self.wake(stream, now)
        stream.told_full = stream.told_full or stream.queued >= QUEUE_FULL
        return not stream.told_full

    def wake(self, stream: StreamState, now: float) -> None:
        """Let a stream have its turn if it has data and credit."""
        if stream.queue and stream.credit:
            self._schedule.add(stream, now)

    def drop(self, stream: StreamState) -> None:
        """Forget what a stream has queued."""
        self._schedule.remove(stream)
        if stream.flags & SYN:
            self._unheard_of.remove(stream)
        if stream.granting:
            stream.granting = 0
            self._controls.remove(stream)
        stream.queue.clear()
        stream.queued = 0

    def take(self, room: int, now: float) -> Taken:
        """Return whole frames, about `room` bytes of them."""
        taken = Taken()
        left = room
        while left > 0:
            if self._pongs:
                taken.pieces.append(frames.pack(PING, ACK, 0, self._pongs.popleft()))
                left -= frames.HEADER.size
            elif self._controls:
                taken.pieces.append(_ready(self._controls.popleft()))
                left -= frames.HEADER.size
            elif self._nobody_may:
                break
            else:
                left -= self._one_frame(taken, now)
            self._mark(taken, now)
        # The cap may have shrunk since: what is under way beyond it has to be marked, or nothing would go on.
        self._mark(taken, now)
        return taken

    @property
    def _nobody_may(self) -> bool:
        if self._schedule.idle:
            return True
        return self._pace.room <= (0 if self._schedule.only_bulk else -OVERDRAFT)

    def _mark(self, taken: Taken, now: float) -> None:
        if self._pace.marker_due:
            taken.pieces.append(frames.pack(PING, SYN, 0, self._pace.marker(now)))

    def _one_frame(self, taken: Taken, now: float) -> int:
        stream = cast("StreamState", self._schedule.next())
        limit = INTERACTIVE_FRAME if self._schedule.is_lively(now) else self._pace.frame
        payload = _cut(stream, min(limit, stream.credit))
        size = sum(map(len, payload))
        stream.queued -= size
        stream.credit -= size
        self._introduce(stream, taken.pieces.append)
        taken.pieces.append(frames.pack(DATA, stream.first_flags(), stream.id, size))
        taken.pieces += payload
        if stream.ending and not stream.queue:
            # Never with data: hashicorp/yamux tells its reader of the end before it has taken the payload.
            taken.pieces.append(frames.pack(DATA, FIN, stream.id, 0))
            stream.ended = True
            taken.ended.append(stream)
        taken.data += size
        self._pace.sent += size
        self._schedule.sent(stream, size, now)
        if not stream.queue:
            stream.rested_at = now
        self.wake(stream, now)
        if stream.told_full and stream.queued < QUEUE_LOW:
            stream.told_full = False
            taken.roomy.append(stream.id)
        return size + frames.HEADER.size

    def _introduce(self, stream: StreamState, say: Callable[[bytes], None]) -> None:
        """Speak of the streams that were opened before this one: ids that go back would end the session."""
        while stream.flags & SYN and (earlier := self._unheard_of.popleft()) is not stream:
            say(frames.pack(WINDOW, earlier.first_flags(), earlier.id, 0))


def _ready(waiting: Bytes | StreamState) -> Bytes:
    """Return a frame that was queued; a stream stands for the credit it gives."""
    if not isinstance(waiting, StreamState):
        return waiting
    credit, waiting.granting = waiting.granting, 0
    return frames.pack(WINDOW, 0, waiting.id, credit)


def _cut(stream: StreamState, size: int) -> list[Bytes]:
    """Take at most `size` bytes from the front of the queue."""
    queue = stream.queue
    out: list[Bytes] = []
    while queue and size:
        piece = queue[0]
        if len(piece) <= size:
            out.append(queue.popleft())
            size -= len(piece)
        else:
            view = memoryview(piece)
            out.append(view[:size])
            queue[0] = view[size:]
            break
    return out
