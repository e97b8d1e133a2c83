"""This file is how a waiting part is woken: bells that can be rung for an id and carry nothing.

What is new is in the database; a bell only says "look". A ring that nobody hears is lost, so who listens looks
once more after it has begun to listen, and now and then without being asked.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID


class Bells:
    """One bell for each id: a gateway's rings for new commands, a tenant's for new events."""

    def __init__(self) -> None:
        self._listeners: dict[UUID, set[asyncio.Event]] = {}

    def ring(self, what: UUID) -> None:
        """Wake everybody who listens for `what`."""
        for listener in self._listeners.get(what, ()):
            listener.set()

    def ring_all(self) -> None:
        """Wake everybody."""
        for what in list(self._listeners):
            self.ring(what)

    @contextmanager
    def listening(self, what: UUID) -> Iterator[asyncio.Event]:
        """Listen for `what`; the event is set at each ring, and the listener clears it before it looks."""
        listener = asyncio.Event()
        self._listeners.setdefault(what, set()).add(listener)
        try:
            yield listener
        finally:
            self._listeners[what].discard(listener)
            if not self._listeners[what]:
                del self._listeners[what]


async def rung(listener: asyncio.Event, *, within: float) -> bool:
    """Wait until a bell rings, at most so many seconds; tell whether it did, and clear it."""
    try:
        async with asyncio.timeout(within):
            await listener.wait()
    except TimeoutError:
        return False
    listener.clear()
    return True
