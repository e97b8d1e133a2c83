"""This file is a clock that tests own."""

import asyncio
from datetime import UTC, datetime, timedelta


class HandClock:
    """Stands still until told otherwise; sleeping moves it on at once."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 21, 12, 0, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)
