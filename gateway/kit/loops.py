"""This file is the event loop a long-running program gets: the fastest that is installed, all of them equal in effect.

`uvloop` and `aiofastnet` are the extra "fast"; without them asyncio's own loop does the same, slower.
"""

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

HANDSHAKE_FAILED = "SSL handshake failed"
Answer = TypeVar("Answer")


class Loop(StrEnum):
    """Which event loop."""

    DEFAULT = "default"
    """asyncio's own."""
    UVLOOP = "uvloop"
    FAST = "fast"
    """uvloop with aiofastnet's transports."""


def best() -> Loop:
    """Return the fastest loop that is installed; uvloop by itself is no faster at this work than asyncio's."""
    return Loop.FAST if find_spec("uvloop") and find_spec("aiofastnet") else Loop.DEFAULT


def factory(kind: Loop) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes such a loop. Raises ImportError when it is not installed."""
    made: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if kind is not Loop.DEFAULT:
        made = import_module("uvloop").new_event_loop
    return _fast(made) if kind is Loop.FAST else made


def _fast(made: Callable[[], asyncio.AbstractEventLoop]) -> Callable[[], asyncio.AbstractEventLoop]:
    library = import_module("aiofastnet")
    patched: Callable[[], asyncio.AbstractEventLoop] = library.loop_factory(made)

    def whole() -> asyncio.AbstractEventLoop:
        loop = patched()
        # What the library puts on a loop leaves this one out, though it has it.
        setattr(loop, "connect_accepted_socket", partial(library.connect_accepted_socket, loop))  # noqa: B010
        return loop

    return whole


def unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody has taken care of; a caller that was cut while it opened TLS is no error of ours."""
    fault, transport = context.get("exception"), context.get("transport")
    kind = fault if isinstance(fault, type) else type(fault)  # aiofastnet gives the class of some errors
    if context.get("message") == HANDSHAKE_FAILED and issubclass(kind, OSError):
        log.info("a caller has not opened TLS", address=_address(transport), reason=kind.__name__)
    else:
        loop.default_exception_handler(context)


def _address(transport: asyncio.BaseTransport | None) -> str | None:
    found = transport.get_extra_info("peername") if transport is not None else None
    return str(found[0]) if isinstance(found, tuple) else None


def run(main: Coroutine[Any, Any, Answer], *, kind: Loop | None = None) -> Answer:
    """Run a program on the loop of that kind, or on the best there is."""
    with asyncio.Runner(loop_factory=factory(kind or best())) as runner:
        runner.get_loop().set_exception_handler(unhandled)
        return runner.run(main)
