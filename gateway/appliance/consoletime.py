"""This file is what time it is at the console, and how sure the appliance is of it: grants are judged by nothing else.

The console said its time once, in its welcome, some moment between the hello and its answer (Cristian, 1989). From then
on a clock that nobody can set counts on; it may drift. The console's own clock may be set meanwhile: its grants then do
not fit in the time as it is known here, and it is to be asked again.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.kit.clock import Clock

DRIFT = 100e-6
"""What a machine's clock is off at most, as a part of the time gone by."""

MISFITS = 2
"""Grants in a row that do not fit in the time before the console is asked for it again."""
ASKED_EVERY = 60.0
"""Seconds after which it is asked again at the earliest: an answer that young would be no other."""


@dataclass(frozen=True, slots=True)
class _Said:
    time: datetime
    at: float
    doubt: float


class ConsoleTime:
    """The console's time as far as it is known."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: _Said | None = None
        self._misfits = 0
        self.stale = asyncio.Event()
        """Set while the console is to be asked for its time again."""

    def heard(self, time: datetime, *, asked: float) -> None:
        """Take the time that the console gave in answer to something said at `asked`, by the monotonic clock."""
        now = self._clock.monotonic()
        half = max(0.0, now - asked) / 2
        self._said = _Said(time, now - half, half)
        self._misfits = 0
        self.stale.clear()

    def fits(self) -> None:
        """Take note that a grant was good at this time."""
        self._misfits = 0

    def misfits(self) -> None:
        """Take note that a grant which the console has signed was not."""
        self._misfits += 1
        young = self._said is None or self._clock.monotonic() - self._said.at < ASKED_EVERY
        if self._misfits >= MISFITS and not young:
            self.stale.set()

    def now(self) -> datetime | None:
        """Return the console's time, or None before it has told it."""
        if self._said is None:
            return None
        return self._said.time + timedelta(seconds=self._clock.monotonic() - self._said.at)

    def doubt(self) -> timedelta:
        """Return by how much `now` may be off, either way."""
        if self._said is None:
            return timedelta(0)
        return timedelta(seconds=self._said.doubt + DRIFT * (self._clock.monotonic() - self._said.at))
