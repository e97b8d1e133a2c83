"""This file is who holds tunnels open: how many of one key, how many in all, and how they are told to go home."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from gateway.kit.errors import GatewayError, Remedy

MOST = 500
OF_ONE_KEY = 32
GOING_AWAY = 1001
LAST_WORDS = 10.0
"""Seconds in which the ends of all streams are to be in the audit log."""


class TooManyTunnelsError(GatewayError):
    """Too many tunnels are open."""

    code = "console.too_many_tunnels"
    remedy = Remedy.RETRY


class Closable(Protocol):
    """What can be closed."""

    async def close(self, code: int, reason: str) -> None:
        """Close; safe to call twice."""


class Tunnels:
    """The tunnels of users that are open now."""

    def __init__(self, *, most: int = MOST, of_one_key: int = OF_ONE_KEY) -> None:
        self._most = most
        self._of_one_key = of_one_key
        self._held: Counter[str] = Counter()
        self._open: set[Closable] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def seat(self, key_id: str) -> Iterator[None]:
        """Take one of the places while the body runs. Raises TooManyTunnelsError."""
        if self._held[key_id] >= self._of_one_key or self._held.total() >= self._most:
            raise TooManyTunnelsError("too many tunnels are open with this API key, or in all: close some")
        self._held[key_id] += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._held[key_id] -= 1
            self._held += Counter()  # a key that holds none is forgotten
            if not self._held:
                self._empty.set()

    @contextmanager
    def known(self, tunnel: Closable) -> Iterator[None]:
        """Have a tunnel closed with the console while the body runs."""
        self._open.add(tunnel)
        try:
            yield
        finally:
            self._open.discard(tunnel)

    async def close(self) -> None:
        """Close every tunnel, and wait until it is written how their streams ended: the console stops."""
        async with asyncio.TaskGroup() as group:
            for tunnel in self._open:
                group.create_task(tunnel.close(GOING_AWAY, "the console stops"))
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._empty.wait()
