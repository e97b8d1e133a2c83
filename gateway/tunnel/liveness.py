"""This file is when a silent peer is asked, and when it is given up: a decision, without a clock of its own.

::

    heard ── QUIET ──> ask ── … ──> DEAD after it was last heard, and never sooner than QUIET after it was asked
"""

from dataclasses import dataclass
from enum import Enum

QUIET = 15.0
"""Seconds of silence after which a peer is asked: below what any load balancer waits (60 s and more)."""
DEAD = 40.0
"""Seconds of silence after which it is given up; looked at every 5 s, so that it is known within 45."""


class Look(Enum):
    """What a look at the peer has shown."""

    ALIVE = "alive"
    ASK = "ask"
    DEAD = "dead"


@dataclass(slots=True)
class Pulse:
    """When a peer was last heard and asked; all times are seconds of one clock."""

    quiet: float
    dead: float
    heard_at: float
    asked_at: float | None = None

    def heard(self, at: float) -> None:
        """Take note that bytes of the peer have come."""
        self.heard_at = max(self.heard_at, at)

    def asked(self, at: float) -> None:
        """Take note that the peer was asked."""
        self.asked_at = at

    @property
    def next_look(self) -> float:
        """When to look again, if nothing is heard."""
        if self._waiting_since is None:
            return self.heard_at + self.quiet
        return max(self.heard_at + self.dead, self._waiting_since + self.quiet)

    def look(self, now: float) -> Look:
        """Tell what to do now."""
        if now < self.next_look:
            return Look.ALIVE
        return Look.ASK if self._waiting_since is None else Look.DEAD

    @property
    def _waiting_since(self) -> float | None:
        """When the question was asked that nothing has followed yet."""
        if self.asked_at is None or self.asked_at < self.heard_at:
            return None
        return self.asked_at
