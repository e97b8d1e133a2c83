"""This file is the pairs of ends that must understand one another: hashicorp/yamux and ours, each in either role."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from gateway.lab.prerequisites import PrerequisiteMissingError
from gateway.tunnel.limits import Limits
from tests.interop import foreign, ours, program
from tests.interop.credentials import Credentials
from tests.interop.foreign import Foreign
from tests.interop.material import Peer
from tests.interop.ours import Ours


@dataclass(frozen=True, slots=True)
class Pair:
    """A session's two ends; `opener` and `other` are these two in the order that the test is about."""

    console: Peer
    appliance: Peer
    opener: Peer
    other: Peer


Connected = Callable[[Path, Credentials], AbstractAsyncContextManager[tuple[Peer, Peer]]]


@asynccontextmanager
async def foreign_and_foreign(built: Path, credentials: Credentials) -> AsyncIterator[tuple[Peer, Peer]]:
    """Go against Go: shows that a failure of the other pairs is not the program's own."""
    async with (
        foreign.console(built, credentials) as (url, console),
        foreign.appliance(built, credentials, url) as appliance,
    ):
        yield console, appliance


@asynccontextmanager
async def ours_console(
    built: Path, credentials: Credentials, *, limits: Limits | None = None, **options: object
) -> AsyncIterator[tuple[Ours, Foreign]]:
    """Our console, a foreign appliance."""
    async with (
        ours.console(credentials, limits=limits) as (url, called),
        foreign.appliance(built, credentials, url, **options) as appliance,
        asyncio.timeout(ours.CONNECT_LIMIT) as limit,
    ):
        console = await called
        limit.reschedule(None)
        yield console, appliance


@asynccontextmanager
async def ours_appliance(
    built: Path, credentials: Credentials, *, limits: Limits | None = None, **options: object
) -> AsyncIterator[tuple[Ours, Foreign]]:
    """Our appliance, a foreign console."""
    async with (
        foreign.console(built, credentials, **options) as (url, console),
        ours.appliance(credentials, url, limits=limits) as appliance,
    ):
        yield appliance, console


@asynccontextmanager
async def foreign_and_ours(built: Path, credentials: Credentials) -> AsyncIterator[tuple[Peer, Peer]]:
    """Our appliance, a foreign console, the console first."""
    async with ours_appliance(built, credentials) as (appliance, console):
        yield console, appliance


PAIRS: dict[str, Connected] = {
    "ours-console-go-appliance": ours_console,
    "go-console-ours-appliance": foreign_and_ours,
    "go-console-go-appliance": foreign_and_foreign,
}


@pytest.fixture(scope="session")
def built() -> Path:
    """The foreign program."""
    try:
        return program.prepare()
    except PrerequisiteMissingError as fault:
        pytest.skip(f"the foreign peer cannot be built: {fault.message}")


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials.make(tmp_path)


class Meeting(Protocol):
    """How a test gets our end and the foreign one, with limits for ours and options for the other."""

    def __call__(
        self, *, limits: Limits | None = None, **options: object
    ) -> AbstractAsyncContextManager[tuple[Ours, Foreign]]:
        """Connect them."""


@pytest.fixture(params=[ours_console, ours_appliance], ids=["ours-is-console", "ours-is-appliance"])
def meeting(request: pytest.FixtureRequest, built: Path, credentials: Credentials) -> Meeting:
    """Our end against the foreign one, in both roles."""
    return partial(request.param, built, credentials)


@pytest.fixture(params=["console-opens", "appliance-opens"])
def direction(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(PAIRS))
async def pair(
    request: pytest.FixtureRequest, built: Path, credentials: Credentials, direction: str
) -> AsyncIterator[Pair]:
    """Two connected ends."""
    async with PAIRS[request.param](built, credentials) as (console, appliance):
        opener, other = (console, appliance) if direction == "console-opens" else (appliance, console)
        yield Pair(console, appliance, opener, other)
