"""This file is a simple model of two mux ends and the road between them, that the real ones are held against.

The model reads the wire with a decoder of its own, keeps what each program handed over and what it was given, and
knows nothing of queues, turns or the in-flight cap. `End` is one mux with the program on it; `Pair` is both and the
road between, which carries bytes in the order they were sent, in any pieces and as late as one likes.
"""

import struct
from collections import Counter
from dataclasses import dataclass, field

from gateway.tunnel.frames import Reset
from gateway.tunnel.happenings import Data, Ended, Gone, GoneAway, Happening, Opened, Room, WasReset
from gateway.tunnel.limits import FIRST_WINDOW, Limits
from gateway.tunnel.mux import Mux
from gateway.tunnel.outgoing import QUEUE_FULL, QUEUE_LOW
from gateway.tunnel.schedule import Lane

PATTERN = bytes(range(251)) * 16720
MESSAGE = 64 * 1024
DATA, WINDOW, PING, GO_AWAY = 0, 1, 2, 3
SYN, ACK, FIN, RST = 1, 2, 4, 8


def content(stream: int, sender: str, offset: int, size: int) -> bytes:
    """Return what a program sends at that place of a stream: no two places near each other look the same."""
    begin = (offset + 17 * stream + (101 if sender == "dialler" else 0)) % 251
    return PATTERN[begin : begin + size]


@dataclass
class Wire:
    """What one end has put on the road, read by the model: whole frames, however they were cut into messages."""

    left: bytearray = field(default_factory=bytearray)
    frames: list[tuple[int, int, int, int]] = field(default_factory=list)
    data: Counter[int] = field(default_factory=Counter)
    granted: Counter[int] = field(default_factory=Counter)
    fins: Counter[int] = field(default_factory=Counter)
    resets: Counter[int] = field(default_factory=Counter)

    def put(self, content: bytes) -> None:
        """Read what an end sends."""
        self.left += content
        while len(self.left) >= 12:
            version, kind, flags, stream, length = struct.unpack(">BBHII", self.left[:12])
            size = 12 + (length if kind == DATA else 0)
            if len(self.left) < size:
                return
            del self.left[:size]
            assert version == 0
            self._frame(kind, flags, stream, length)

    def _frame(self, kind: int, flags: int, stream: int, length: int) -> None:
        self.frames.append((kind, flags, stream, length))
        if kind in {DATA, WINDOW}:
            assert not (self.fins[stream] and kind == DATA and length), "data after the end"
            assert not self.resets[stream] or flags & RST, "a frame for a stream that its sender has reset"
        if kind == DATA:
            self.data[stream] += length
        if kind == WINDOW and not flags & RST:
            self.granted[stream] += length
        self.fins[stream] += bool(flags & FIN)
        self.resets[stream] += bool(flags & RST)
        assert self.fins[stream] <= 1, "an end that is said twice kills a session with hashicorp/yamux"

    def count(self, kind: int, flag: int = 0) -> int:
        """Return how many frames of a kind, with a flag, have passed."""
        return sum(1 for each in self.frames if each[0] == kind and each[1] & flag == flag)


@dataclass
class End:
    """One mux, and the program on it."""

    name: str
    limits: Limits = field(default_factory=Limits)
    mux: Mux = field(init=False)
    wire: Wire = field(default_factory=Wire)
    handed: Counter[int] = field(default_factory=Counter)
    """Bytes the program has handed over, by stream."""
    came: Counter[int] = field(default_factory=Counter)
    """Bytes the program was given."""
    unread: Counter[int] = field(default_factory=Counter)
    full: set[int] = field(default_factory=set)
    """Streams the program was told are full."""
    mine: list[int] = field(default_factory=list)
    theirs: list[int] = field(default_factory=list)
    ends: set[int] = field(default_factory=set)
    """Streams the program has ended."""
    peer_ends: set[int] = field(default_factory=set)
    resets: dict[int, Reset] = field(default_factory=dict)
    gone_away: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mux = Mux(dialler=self.name == "dialler", now=0.0, limits=self.limits)

    @property
    def live(self) -> list[int]:
        """Streams that nobody has reset, as far as this end knows."""
        return [stream for stream in self.mine + self.theirs if stream not in self.resets]

    def open(self, now: float, lane: Lane = Lane.AUTO) -> int:
        stream = self.mux.open(lane, now)
        self.mine.append(stream)
        return stream

    def send(self, stream: int, size: int, now: float) -> bool:
        if stream in self.ends or stream in self.resets:
            assert self.mux.send(stream, b"nobody reads this", now) is True
            return True
        before = self.mux.queued(stream)
        room = self.mux.send(stream, content(stream, self.name, self.handed[stream], size), now)
        self.handed[stream] += size
        assert self.mux.queued(stream) == before + size
        assert room == (stream not in self.full and before + size < QUEUE_FULL)
        if not room:
            self.full.add(stream)
        return room

    def end(self, stream: int, now: float) -> None:
        self.mux.end(stream, now)
        self.ends.add(stream)

    def reset(self, stream: int, reason: Reset = Reset.CANCELLED) -> None:
        self.mux.reset(stream, reason)
        self._is_reset(stream, reason)

    def read(self, stream: int, size: int, now: float) -> None:
        size = min(size, self.unread[stream])
        self.unread[stream] -= size
        self.mux.read(stream, size, now)

    def read_all(self, now: float) -> int:
        waiting = {stream: size for stream, size in self.unread.items() if size}
        for stream, size in waiting.items():
            self.read(stream, size, now)
        return sum(waiting.values())

    def take(self, room: int, now: float) -> bytes:
        pieces, happened = self.mux.take(room, now)
        sent = b"".join(pieces)
        for each in happened:
            assert isinstance(each, Room | Gone)
            if isinstance(each, Gone):
                continue
            assert each.stream in self.full, "told of room, and was never told that it is full"
            assert self.mux.queued(each.stream) < QUEUE_LOW
            self.full.discard(each.stream)
        self.wire.put(sent)
        assert not self.wire.left, "only whole frames are given out"
        for stream in self.full:
            assert self.mux.queued(stream) >= QUEUE_LOW, "has room, and was not told"
        return sent

    def receive(self, message: bytes, now: float) -> list[Happening]:
        happened = self.mux.receive(message, now)
        for each in happened:
            self._happens(each)
        return happened

    def _happens(self, each: Happening) -> None:
        match each:
            case Opened(stream):
                assert stream not in self.theirs
                self.theirs.append(stream)
            case Data(stream, payload):
                assert stream not in self.resets, "data of a stream that is gone"
                assert stream not in self.peer_ends, "data behind the end"
                other = "acceptor" if self.name == "dialler" else "dialler"
                assert bytes(payload) == content(stream, other, self.came[stream], len(payload)), "other bytes came"
                self.came[stream] += len(payload)
                self.unread[stream] += len(payload)
            case Ended(stream):
                assert stream not in self.peer_ends
                self.peer_ends.add(stream)
            case WasReset(stream, reason):
                self._is_reset(stream, reason)
            case GoneAway(code):
                self.gone_away.append(code)
            case Gone(_):
                pass
            case Room(_):
                raise AssertionError("what comes in makes no room")

    def _is_reset(self, stream: int, reason: Reset) -> None:
        self.resets.setdefault(stream, reason)
        self.full.discard(stream)
        self.unread.pop(stream, None)


class Pair:
    """Two ends and the road between them."""

    def __init__(self, dialler: Limits | None = None, acceptor: Limits | None = None) -> None:
        self.now = 0.0
        self.dialler = End("dialler", dialler or Limits())
        self.acceptor = End("acceptor", acceptor or Limits())
        self.road: dict[str, bytearray] = {"dialler": bytearray(), "acceptor": bytearray()}
        """What an end has sent and the other has not got."""
        self._seen: dict[str, Wire] = {"dialler": Wire(), "acceptor": Wire()}

    @property
    def ends(self) -> tuple[End, End]:
        return self.dialler, self.acceptor

    def other(self, end: End) -> End:
        return self.acceptor if end is self.dialler else self.dialler

    def take(self, end: End, room: int = MESSAGE) -> int:
        sent = end.take(room, self.now)
        self.road[end.name] += sent
        self._stays_within_credit(end)
        return len(sent)

    def deliver(self, sender: End, size: int | None = None) -> int:
        """Hand on bytes that `sender` has sent, as one message."""
        road = self.road[sender.name]
        part = bytes(road[:size])
        del road[: len(part)]
        self._seen[sender.name].put(part)
        if part:
            self.other(sender).receive(part, self.now)
        return len(part)

    def exchange(self, *, reading: bool = True, rounds: int = 100_000, step: float = 0.0) -> int:
        """Let both ends send and take until nobody has anything to say; return the rounds it took."""
        for number in range(rounds):
            moved = sum(self.take(end) for end in self.ends)
            moved += sum(self.deliver(end) for end in self.ends)
            if reading:
                moved += sum(end.read_all(self.now) for end in self.ends)
            self.now += step
            if not moved:
                return number
        raise AssertionError("they never come to rest")

    def _stays_within_credit(self, end: End) -> None:
        """What was sent is covered by what the other end had granted, and this one had heard of."""
        heard = self._seen[self.other(end).name].granted
        for stream, sent in end.wire.data.items():
            assert sent <= FIRST_WINDOW + heard[stream], "more under way than there was credit for"
