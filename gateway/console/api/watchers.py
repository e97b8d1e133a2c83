"""This file is who watches events: how many may, and how they are told to go home."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.console.bells import Bells
from gateway.kit.errors import GatewayError, Remedy

MOST = 1000
HEARTBEAT = 15.0
"""Seconds after which a quiet stream says that it is still there, and looks for what no bell has told."""


class TooManyWatchersError(GatewayError):
    """Too many watchers are connected."""

    code = "console.too_many_watchers"
    remedy = Remedy.RETRY


class Watchers:
    """The open event streams. None of them has a buffer: each reads from the database as fast as it is read."""

    def __init__(self, bells: Bells, *, most: int = MOST) -> None:
        self.bells = bells
        self.closing = False
        self._most = most
        self._count = 0

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Take one of the places while the body runs. Raises TooManyWatchersError."""
        if self._count >= self._most:
            raise TooManyWatchersError("too many watchers are connected: close some, or try again later")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def close(self) -> None:
        """End every stream soon; clients come back with the last position they have seen."""
        self.closing = True
        self.bells.ring_all()
