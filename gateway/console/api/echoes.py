"""This file is who may have an echo: how many at once, and how often."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, web

from gateway.console.limits import Buckets
from gateway.kit.errors import GatewayError, Remedy

AT_ONCE = 16
AT_ONCE_EACH = 4


class TooManyEchoesError(GatewayError):
    """Too many echoes are open."""

    code = "console.too_many_echoes"
    remedy = Remedy.RETRY


@dataclass(slots=True)
class Echoes:
    """The open echoes: how many, whose, and how often new ones are asked for."""

    each: Buckets = field(default_factory=lambda: Buckets(burst=8, per_minute=8))
    every: Buckets = field(default_factory=lambda: Buckets(burst=32, per_minute=32))
    sockets: set[web.WebSocketResponse] = field(default_factory=set)
    _open: "Counter[str]" = field(default_factory=Counter)

    @contextmanager
    def seat(self, address: str, *, now: float) -> Iterator[None]:
        """Take a place while the body runs. Raises TooOftenError or TooManyEchoesError."""
        self.each.take(address, now=now)
        self.every.take("everybody", now=now)
        if self._open.total() >= AT_ONCE or self._open[address] >= AT_ONCE_EACH:
            raise TooManyEchoesError("too many echoes are open: try again in a minute")
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            self._open += Counter()  # forgets who has none

    async def close(self) -> None:
        """End every echo: the console stops."""
        for socket in list(self.sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the console stops")
