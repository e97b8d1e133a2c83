"""This file is an event loop in which no time passes: when nothing is ready it is the next timer's turn at once."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

Result = TypeVar("Result")
MOST_TURNS = 10_000
"""Turns of the loop in one run; a thousand are usual."""
START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class StuckError(Exception):
    """Nothing would ever happen again, or it would never end: everybody waits, or runs in a circle."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs tasks and timers in their order; knows no files, threads or clocks."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = 1e-9
        self._selector = self
        self._turns = 0

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        self._turns += 1
        if timeout is None or self._turns > MOST_TURNS:
            self._turns = 0
            raise StuckError("everybody waits" if timeout is None else "it goes on and on")
        self._now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class VirtualClock:
    """The time of the loop that runs."""

    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in no time."""
    loop = VirtualLoop()
    try:
        result = loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
        return result
    finally:
        loop.close()
