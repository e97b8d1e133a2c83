"""This file is the event loop a long-running program gets: the fastest that is installed, all of them equal in effect.

`uvloop` and `aiofastnet` are the extra "fast"; without them asyncio's own loop does the same, slower.
"""

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]
try:
    import aiofastnet
except ImportError:
    aiofastnet = None  # type: ignore[assignment]

Answer = TypeVar("Answer")


class Loop(StrEnum):
    """Which event loop."""

    DEFAULT = "default"
    """asyncio's own."""
    UVLOOP = "uvloop"
    FAST = "fast"
    """uvloop with aiofastnet's transports."""


def best() -> Loop:
    """Return the fastest loop that is installed."""
    if uvloop is None:
        return Loop.DEFAULT
    return Loop.UVLOOP if aiofastnet is None else Loop.FAST


def factory(kind: Loop) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes such a loop; it must be installed."""
    match kind:
        case Loop.DEFAULT:
            return asyncio.new_event_loop
        case Loop.UVLOOP:
            return uvloop.new_event_loop
        case Loop.FAST:
            made: Callable[[], asyncio.AbstractEventLoop] = aiofastnet.loop_factory(uvloop.new_event_loop)
            return made


def run(main: Coroutine[Any, Any, Answer], *, kind: Loop | None = None) -> Answer:
    """Run a program on the loop of that kind, or on the best there is."""
    with asyncio.Runner(loop_factory=factory(kind or best())) as runner:
        return runner.run(main)
