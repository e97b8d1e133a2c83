"""This file is how long to wait before trying again: exponential, capped, with full jitter.

Full jitter (a uniform draw between nothing and the exponential limit) spreads a crowd that was cut
at the same moment better than any fixed pattern; see the AWS Architecture Blog, "Exponential Backoff
and Jitter", 2015.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Counts failures in a row and says how long to wait after each.

    `first` and `cap` are seconds; `stable` is how many seconds a success must have lasted before the
    count starts again, so that a peer that accepts and drops us at once is not hammered. `draw` returns
    a number in [0, 1).
    """

    draw: Callable[[], float]
    first: float = 1.0
    cap: float = 60.0
    stable: float = 60.0
    failures: int = 0

    def next_delay(self) -> float:
        """Count one more failure and return the seconds to wait."""
        limit = min(self.cap, self.first * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return self.draw() * limit

    def succeeded_for(self, seconds: float) -> bool:
        """Take note how long the last run lasted; forget the failures, and return True, if that was long enough."""
        if seconds < self.stable:
            return False
        self.failures = 0
        return True
