"""This file is credit: how much a peer may send on a stream, and when it is told that it may send more.

The window of a stream starts at FIRST_WINDOW and doubles, up to the limit, when half of it was read within two round
trips: then it is the window, and not the reader, that holds the stream back. A reader that is slow keeps a small one.
Reading is what counts, not receiving. The idea is rust-yamux's; the budget over all streams bounds the memory.
"""

from gateway.tunnel.frames import ProtocolBrokenError
from gateway.tunnel.limits import FIRST_WINDOW

LARGEST_CREDIT = 2**32 - 1
SHORTEST_ROUND_TRIP = 0.001
WINDOWS_FREE = 4
"""How many windows of a stream's new size must fit into what the budget has free, before it grows to that."""


class Budget:
    """Counts the bytes that were received and not yet read, over all streams of a session."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def allows(self, window: int) -> bool:
        """Tell whether a window may grow to that size: stalled streams may slow the others, never stop their growth."""
        return window * WINDOWS_FREE <= self.limit - self.held

    @property
    def allows_streams(self) -> bool:
        """Whether new streams may open."""
        return self.held * 4 < self.limit * 3

    @property
    def is_overdrawn(self) -> bool:
        """Whether somebody has to be cut."""
        return self.held > self.limit


class ReceiveWindow:
    """The credit we give for one stream."""

    __slots__ = ("_budget", "_credit", "_grown_at", "_largest", "_read", "held", "size")

    def __init__(self, budget: Budget, *, largest: int, now: float) -> None:
        self._budget = budget
        self._largest = largest
        self._credit = FIRST_WINDOW
        self._read = 0
        self._grown_at = now
        self.size = FIRST_WINDOW
        self.held = 0

    def received(self, size: int) -> None:
        """Take note of data. Raises ProtocolBrokenError when it is more than was allowed."""
        if size > self._credit:
            raise ProtocolBrokenError(f"a stream brings {size} bytes and has credit for {self._credit}")
        self._credit -= size
        self.held += size
        self._budget.held += size

    def read(self, size: int, *, now: float, round_trip: float) -> int:
        """Take note that `size` bytes were read; return the credit to give now, or 0 to wait."""
        self.held -= size
        self._budget.held -= size
        self._read += size
        if self._read * 2 < self.size:
            return 0
        credit = self._read
        growth = min(self.size, self._largest - self.size)
        quickly = now - self._grown_at < 2 * max(round_trip, SHORTEST_ROUND_TRIP)
        if growth and quickly and self._budget.allows(self.size + growth):
            self.size += growth
            credit += growth
        self._read = 0
        self._grown_at = now
        self._credit += credit
        return credit

    def dropped(self) -> None:
        """Give back what the stream held, when it is gone."""
        self._budget.held -= self.held
        self.held = 0


def added(credit: int, delta: int) -> int:
    """Return the credit after the peer gave more. Raises ProtocolBrokenError when no honest peer gives so much."""
    if credit + delta > LARGEST_CREDIT:
        raise ProtocolBrokenError(f"a stream's credit of {credit} is raised by {delta}, beyond what the wire can count")
    return credit + delta
