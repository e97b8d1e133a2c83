"""This file is the in-flight cap: how much may be under way before the peer has said that it arrived.

The queue that makes an interactive stream wait is not ours: it sits in kernels, proxies and the peer. So every
quarter of the cap a PING goes out behind the data; its echo says that all before it has arrived. From these comes the
rate and the shortest round trip, and from both the cap: what the road holds, and SLACK more to keep it busy.

    cap = rate * (GAIN * shortest round trip + slack),   SMALLEST_CAP <= cap <= LARGEST_CAP

Under load the shortest round trip is not seen any more, so it is asked for: every ROUND_TRIP_KEPT seconds the cap is
a quarter for one round trip, which lets the queue run empty (as TCP's BBR does).
"""

from collections import deque
from typing import NamedTuple

from gateway.tunnel.limits import BULK_FRAME, INTERACTIVE_FRAME, KIB, MIB

SMALLEST_CAP, LARGEST_CAP = 64 * KIB, 4 * MIB
FIRST_CAP = 512 * KIB
SLACK = 0.004
"""Seconds of standing queue that keep a road busy whose ends are scheduled late."""
ROUND_TRIP_KEPT = 10.0
RATE_KEPT = 3
"""Echoes whose rates count, the best of them: more would keep what a bucket on the way let through at first."""
GAIN = 1.25
"""A road that is not full shows no higher rate than what is sent on it, so each round tries for more (as BBR does)."""


class _Marker(NamedTuple):
    value: int
    sent: int
    arrived: int
    at: float


class Pace:
    """Decides how much may be sent. Times are seconds of any clock that does not go back."""

    def __init__(self, now: float) -> None:
        self.cap = FIRST_CAP
        self.sent = 0
        self.arrived = 0
        self.round_trip = 0.0
        """Seconds, the shortest of late; 0.0 until the first echo."""
        self._markers: deque[_Marker] = deque()
        self._marked = 0
        self._next_value = 1
        self._shortest_at = now
        self._rates: deque[float] = deque(maxlen=RATE_KEPT)
        self._cap_before: int | None = None

    @property
    def room(self) -> int:
        """Bytes that may be sent now; can be below zero."""
        return self.cap - (self.sent - self.arrived)

    @property
    def frame(self) -> int:
        """Bytes of payload in a frame of bulk: a quarter of the cap, so that a slow road is not held for long."""
        return min(BULK_FRAME, max(INTERACTIVE_FRAME, self.cap // 4))

    @property
    def marker_due(self) -> bool:
        """Whether a marker has to follow what was sent: a quarter of the cap is unmarked, or no echo would come."""
        unmarked = self.sent - self._marked
        return unmarked >= self.cap // 4 or (unmarked > 0 and self.room <= 0 and not self._markers)

    def marker(self, now: float) -> int:
        """Return the value of a PING that is sent now."""
        value = self._next_value
        self._next_value = value % 0xFFFFFFFF + 1
        self._markers.append(_Marker(value, self.sent, self.arrived, now))
        self._marked = self.sent
        return value

    def echoed(self, value: int, now: float) -> bool:
        """Take note of an echo; False when no such PING is under way."""
        if not any(marker.value == value for marker in self._markers):
            return False
        marker = self._markers.popleft()
        while marker.value != value:
            marker = self._markers.popleft()
        self._measured(marker, now)
        self.arrived = marker.sent
        return True

    def _measured(self, marker: _Marker, now: float) -> None:
        took = max(now - marker.at, 1e-6)
        carried = marker.sent - marker.arrived
        if self._cap_before is not None and carried <= self.cap + self.frame:  # a sender overshoots by up to a frame
            self.round_trip, self._shortest_at = took, now
            self.cap, self._cap_before = self._cap_before, None
        elif self.round_trip == 0.0 or took <= self.round_trip:
            self.round_trip, self._shortest_at = took, now
        if self._cap_before is None and carried >= self.cap // 4:
            self._rates.append(carried / took)
            self.cap = _bounded(int(max(self._rates) * (GAIN * self.round_trip + SLACK)))
        if self._cap_before is None and now - self._shortest_at > ROUND_TRIP_KEPT:
            self._cap_before = self.cap
            self.cap = max(INTERACTIVE_FRAME, self.cap // 4)


def _bounded(cap: int) -> int:
    return max(SMALLEST_CAP, min(LARGEST_CAP, cap))
