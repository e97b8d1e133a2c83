"""This file is how often a key may open streams, and how much is told of those it may not; pure.

What is turned away here has cost the database nothing. A flood of it is one entry now and then, which says how many
there were: the log shall not be filled by whoever is kept out.
"""

from collections import Counter
from dataclasses import dataclass, field

from gateway.console.limits import Buckets
from gateway.kit.errors import GatewayError, Remedy

AT_ONCE = 300
"""More than one tunnel carries: a program may open all of its connections in one go."""
PER_MINUTE = 1200


class OpenedTooOftenError(GatewayError):
    """A key opens streams faster than it may."""

    code = "stream.too_often"
    remedy = Remedy.RETRY


def _opens() -> Buckets:
    return Buckets(burst=AT_ONCE, per_minute=PER_MINUTE)


def _entries() -> Buckets:
    return Buckets(burst=5, per_minute=6)


@dataclass(slots=True)
class Turnstile:
    """Every key has a rate of its own. `opens` bounds streams, `entries` what is told of those turned away."""

    opens: Buckets = field(default_factory=_opens)
    entries: Buckets = field(default_factory=_entries)
    _untold: "Counter[str]" = field(default_factory=Counter)

    def enter(self, key: str, *, now: float) -> None:
        """Count one stream of a key at `now` (monotonic seconds). Raises OpenedTooOftenError."""
        if not self.opens.has_room(key, now=now):
            raise OpenedTooOftenError(
                f"this key opens more than {PER_MINUTE // 60} streams a second: wait a moment and try again"
            )

    def turned_away(self, key: str, *, now: float) -> int | None:
        """Count one that was turned away; return how many before it nobody has told of, or None: not now."""
        if self.entries.has_room(key, now=now):
            return self.untold(key)
        self._untold[key] += 1
        return None

    def untold(self, key: str) -> int:
        """Return how many of a key nobody has told of, and take it that somebody does now."""
        return self._untold.pop(key, 0)
