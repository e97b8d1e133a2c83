"""This file is how a user's tunnel is kept: opened again, not in a hurry, and given up when the console says never."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest

from gateway.cli import plain, telling
from gateway.cli.forwarding import Carried
from gateway.cli.road import NoTunnelError, Road
from gateway.cli.tables import Output
from gateway.console.auth import NotSignedInError
from gateway.contract.streams import UserPreamble
from gateway.kit.errors import GatewayError
from gateway.kit.supervise import running
from gateway.tunnel.roads import DialError
from gateway.tunnel.session import Session, SessionClosedError
from tests.fakes.clock import HandClock
from tests.unit.cli.samples import HOSTILE

WISH = UserPreamble(gateway="dc1", target="web")


@dataclass
class FakeSession:
    """A tunnel that ends when a test says so."""

    streams: int = 0
    going_away: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def closed(self) -> GatewayError:
        await self.over.wait()
        return SessionClosedError("cut")

    def end(self) -> None:
        self.going_away.set()
        self.over.set()


@dataclass
class Console:
    """Hands out sessions, or the faults that a test has put in."""

    faults: list[GatewayError] = field(default_factory=list)
    opened: list[FakeSession] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    allowed: Callable[[], Awaitable[None]] | None = None

    @asynccontextmanager
    async def dial(self) -> AsyncIterator[Session]:
        if self.faults:
            raise self.faults.pop(0)
        session = FakeSession()
        self.opened.append(session)
        yield cast("Session", session)

    def connected(self) -> None:
        self.told.append("connected")

    def disconnected(self, fault: GatewayError) -> None:
        self.told.append(fault.code)

    async def check(self) -> None:
        if self.allowed is not None:
            await self.allowed()

    def road(self, clock: HandClock) -> Road:
        return Road(dial=self.dial, check=self.check, watcher=self, clock=clock)


async def never() -> None:
    raise NotSignedInError("the console says never")


async def test_a_tunnel_that_ends_is_opened_again() -> None:
    console, clock = Console(), HandClock()
    road = console.road(clock)
    async with running(road=road.run()):
        first = await road.session(within=5)
        console.opened[0].end()
        assert await road.session(within=5) is not first

    assert console.told[:3] == ["connected", "tunnel.session_closed", "connected"]
    assert 0.25 <= clock.seconds <= 1.25


async def test_a_tunnel_that_goes_away_keeps_its_streams_beside_the_next_one() -> None:
    console = Console()
    road = console.road(HandClock())
    async with running(road=road.run()):
        await road.session(within=5)
        old = console.opened[0]
        old.streams = 1
        old.going_away.set()
        assert await road.session(within=5) is cast("Session", console.opened[1])
        assert not old.over.is_set()


async def test_the_console_says_when_to_come_back() -> None:
    console, clock = Console([DialError("full", status=503, retry_after=40.0)]), HandClock()
    road = console.road(clock)
    async with running(road=road.run()):
        await road.session(within=5)

    assert clock.seconds >= 40


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_another_try_does_not_change_ends_it_with_the_consoles_own_words(status: int) -> None:
    console = Console([DialError("no", status=status)], allowed=never)
    with pytest.raises(NotSignedInError, match="never"):
        async with running(road=console.road(HandClock()).run()):
            await asyncio.sleep(5)


@pytest.mark.parametrize("status", [429, 500, 503, None])
async def test_what_may_pass_is_tried_again(status: int | None) -> None:
    console = Console([DialError("later", status=status)] * 5, allowed=never)
    road = console.road(HandClock())
    async with running(road=road.run()):
        await road.session(within=5)


async def test_nobody_waits_for_ever_for_a_tunnel() -> None:
    with pytest.raises(NoTunnelError, match="within"):
        await Console().road(HandClock()).session(within=0.01)


def test_trouble_is_told_once_until_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    teller = telling.teller(WISH, Output.TABLE, HandClock())
    for _ in range(3):
        teller.disconnected(SessionClosedError("cut"))
    teller.connected()
    teller.connected()

    said = capsys.readouterr()
    assert said.err.splitlines() == ["cut; trying again"]
    assert said.out.splitlines() == ["the tunnel to the console is open again"]


@pytest.mark.attack(23)
@pytest.mark.parametrize("output", Output)
def test_what_the_other_side_says_stays_on_one_line_and_moves_no_cursor(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    teller = telling.teller(WISH, output, HandClock())
    teller.refused(1, SessionClosedError(HOSTILE))
    teller.closed(2, Carried(1, 2, 3.0, HOSTILE))
    teller.disconnected(SessionClosedError(HOSTILE))

    said = capsys.readouterr()
    lines = [*said.out.splitlines(), *said.err.splitlines()]
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 * 1024**3, "5.0 GiB"), (7 * 1024**5, "7168.0 TiB")],
)
def test_sizes_are_readable(count: int, shown: str) -> None:
    assert plain.size(count) == shown
