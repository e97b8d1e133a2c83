"""This file is how long to wait before trying again: exponential, capped, with full jitter.

Full jitter (a uniform draw between nothing and the exponential limit) spreads a crowd that was cut
at the same moment better than any fixed pattern; see the AWS Architecture Blog, "Exponential Backoff
and Jitter", 2015. Whoever is called may name a pause of its own (the fact `retry_after` of an error, in seconds):
it is kept to, and spread.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.kit.errors import GatewayError, Remedy

LONGEST = 3600.0
"""Seconds, the longest pause that somebody else may ask of us."""


@dataclass(slots=True)
class Backoff:
    """Counts failures in a row and says how long to wait after each.

    `first` and `cap` are seconds, and so is `slow`, the cap where time alone mends nothing; `stable` is how many
    seconds a success must have lasted before the count starts again, so that a peer that accepts and drops us at once
    is not hammered. `draw` returns a number in [0, 1).
    """

    draw: Callable[[], float]
    first: float = 1.0
    cap: float = 60.0
    stable: float = 60.0
    slow: float = 300.0
    failures: int = 0

    def next_delay(self, fault: Exception | None = None) -> float:
        """Count one more failure and return the seconds to wait after it.

        An error that an operator has to mend (a certificate that is refused, a proxy's password) may wait up to
        `slow`; one that carries `retry_after` waits that long at least, and up to half as long again.
        """
        limit = min(self._cap(fault), self.first * 2.0 ** min(self.failures, 32))
        self.failures += 1
        wished = _wished(fault)
        if wished is None:
            return self.draw() * limit
        return wished + self.draw() * max(wished / 2, limit)

    def _cap(self, fault: Exception | None) -> float:
        mended_by_time = not isinstance(fault, GatewayError) or fault.remedy is not Remedy.OPERATOR
        return self.cap if mended_by_time else max(self.cap, self.slow)

    def succeeded_for(self, seconds: float) -> bool:
        """Take note how long the last run lasted; forget the failures, and return True, if that was long enough."""
        if seconds < self.stable:
            return False
        self.failures = 0
        return True


def _wished(fault: Exception | None) -> float | None:
    wished = fault.facts.get("retry_after") if isinstance(fault, GatewayError) else None
    return min(float(wished), LONGEST) if isinstance(wished, int | float) and wished > 0 else None
