"""This file is how a flood is told from work: a bucket of tokens that time and data fill again."""


class Bucket:
    """Holds at most `depth` tokens and gains `rate` a second."""

    __slots__ = ("_at", "_depth", "_rate", "_tokens")

    def __init__(self, *, rate: float, depth: float, now: float) -> None:
        self._rate = rate
        self._depth = depth
        self._tokens = depth
        self._at = now

    def pay(self, tokens: float) -> None:
        """Put tokens in that work has earned; they do not overflow."""
        self._tokens = min(self._depth, self._tokens + tokens)

    def owe(self, tokens: float, now: float) -> float:
        """Take tokens, there or not; return the seconds until none are owed any more."""
        self._fill(now)
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._rate)

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._depth, self._tokens + (now - self._at) * self._rate)
            self._at = now

    def take(self, now: float) -> bool:
        """Take one token; False when there is none."""
        self._fill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
