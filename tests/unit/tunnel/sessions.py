"""This file is two data sessions joined over real mutual TLS on loopback, on every event loop that is installed."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from gateway.kit import loops
from gateway.kit.loops import Loop
from gateway.tunnel.acceptor import accepting
from gateway.tunnel.channel import Channel
from gateway.tunnel.dataline import DataEnd, dial_data
from gateway.tunnel.limits import Limits
from gateway.tunnel.roads import Road
from gateway.tunnel.session import OnStream, Session
from gateway.tunnel.stream import Stream
from tests.fakes.ends import Ends

NEEDS = {Loop.DEFAULT: (), Loop.UVLOOP: ("uvloop",), Loop.FAST: ("uvloop", "aiofastnet")}
LIMIT = 60.0
"""Seconds that no scenario takes on any machine."""

Scenario = Callable[[Ends], Awaitable[None]]


def on_every_loop(scenario: Scenario) -> Callable[..., None]:
    """Make a test of a scenario: it passes on each loop, and leaves no task and no socket on any."""

    @pytest.mark.parametrize("kind", list(Loop))
    def test(kind: Loop, ends: Ends) -> None:
        for needed in NEEDS[kind]:
            if find_spec(needed) is None:
                pytest.skip(f"{needed} is not installed: it is part of the extra 'fast'")
        with no_socket_left(), asyncio.Runner(loop_factory=loops.factory(kind)) as runner:
            runner.run(_without_a_trace(scenario, ends))

    test.__name__, test.__doc__ = getattr(scenario, "__name__", "scenario"), scenario.__doc__
    return test


async def _without_a_trace(scenario: Scenario, ends: Ends) -> None:
    async with asyncio.timeout(LIMIT):
        await scenario(ends)
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert left == set(), "tasks are left"
    await asyncio.sleep(0.05)


def _sockets() -> set[str]:
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@contextmanager
def no_socket_left() -> Iterator[None]:
    """Fail when the body leaves a socket open."""
    before = _sockets()
    yield
    gc.collect()
    assert _sockets() - before == set()


async def not_called(_: Channel) -> None:
    raise AssertionError("a data session came in as a command channel")


class Console:
    """The accepting end: its port, and the sessions it has taken."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.sessions: asyncio.Queue[Session] = asyncio.Queue()

    async def on_session(self, session: Session, _path: str) -> None:
        self.sessions.put_nowait(session)
        await session.closed()


@asynccontextmanager
async def console(
    ends: Ends, *, on_stream: OnStream | None = None, limits: Limits | None = None
) -> AsyncIterator[Console]:
    """Accept data sessions while the body runs."""
    end = Console()
    data = DataEnd(end.on_session, on_stream, limits)
    async with accepting(
        "127.0.0.1", 0, tls=ends.server, on_channel=not_called, message_limit=65536, data=data
    ) as port:
        end.port, end.url = port, f"wss://127.0.0.1:{port}/"
        yield end


@asynccontextmanager
async def joined(
    ends: Ends,
    *,
    on_stream: OnStream | None = None,
    limits: Limits | None = None,
    road: Road | None = None,
    quiet: float = 15.0,
    dead: float = 45.0,
) -> AsyncIterator[tuple[Session, Session]]:
    """Yield the dialler's session and the acceptor's, whose streams `on_stream` serves."""
    async with (
        console(ends, on_stream=on_stream, limits=limits) as end,
        dial_data(end.url, tls=ends.client, road=road, quiet=quiet, dead=dead) as session,
    ):
        yield session, await end.sessions.get()


async def echo(stream: Stream, preamble: bytes) -> None:
    """Answer with the preamble, and send back what comes until it ends."""
    stream.answer(preamble)
    while piece := await stream.read():
        await stream.write(piece)
    stream.end()


async def read_to_end(stream: Stream) -> bytes:
    """Return all that comes until the peer ends."""
    found = bytearray()
    while piece := await stream.read():
        found += piece
    return bytes(found)


async def until(true: Callable[[], object]) -> None:
    """Wait until something is true."""
    while not true():  # noqa: ASYNC110 - a session tells nobody of what is looked for here
        await asyncio.sleep(0.002)
