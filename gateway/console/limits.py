"""This file is how often somebody may ask: a bucket for each, in bounded memory; pure, the time is an argument."""

from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.kit.errors import GatewayError, Remedy


class TooOftenError(GatewayError):
    """Somebody asks too often."""

    code = "console.too_often"
    remedy = Remedy.RETRY


@dataclass(slots=True)
class Buckets:
    """Each key may ask `burst` times at once and `per_minute` times a minute in the long run.

    At most `capacity` keys are remembered; the one unused for longest is forgotten first, which can only be to
    its advantage.
    """

    burst: int
    per_minute: float
    capacity: int = 10_000
    _filled: "OrderedDict[str, tuple[float, float]]" = field(default_factory=OrderedDict)

    def take(self, key: str, *, now: float) -> None:
        """Count one request at `now` (monotonic seconds). Raises TooOftenError with the seconds to wait."""
        wait = self._wait(key, now)
        if wait > 0:
            raise TooOftenError(
                f"too many attempts: wait {wait:.0f} seconds and try again", retry_after=round(wait + 0.5)
            )

    def has_room(self, key: str, *, now: float) -> bool:
        """Count one request at `now` and tell whether it is within the limit."""
        return self._wait(key, now) <= 0

    def _wait(self, key: str, now: float) -> float:
        level, since = self._filled.pop(key, (float(self.burst), now))
        level = min(float(self.burst), level + (now - since) * self.per_minute / 60)
        allowed = level >= 1
        self._filled[key] = (level - 1 if allowed else level, now)
        if len(self._filled) > self.capacity:
            self._filled.popitem(last=False)
        return 0.0 if allowed else (1 - level) * 60 / self.per_minute


def spoken() -> Buckets:
    """Return how often a log tells of one address: enough to be noticed, too little to be filled by it."""
    return Buckets(burst=5, per_minute=1)
