"""This file is three years of appliances: none is ever stranded, and none ever has two living identities.

Everything random comes from one seed. `make test` lives a few lives; `make test-heavy` two hundred.
"""

import heapq
import itertools
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from gateway.appliance import recovering
from gateway.console.admission import (
    CertificateOverError,
    CertificateReplacedError,
    CertificateSpentError,
    CertificateUnknownError,
)
from tests.lifetimes import hub as hubs
from tests.lifetimes.hub import Hub
from tests.lifetimes.life import DAY, HOUR, Life, without_a_wire

YEARS = 3
LOOK_EVERY = 8 * HOUR
LOOKS = 2
"""How often in a row an appliance that is on may look for its console in vain: less than a day."""
PAUSES = (21 * DAY, 13 * HOUR, 60.0)
"""Between the steps of a rotation of the root."""
MEMORY = Path("/dev/shm")
WORTHLESS = (CertificateOverError, CertificateReplacedError, CertificateSpentError, CertificateUnknownError)


def ways_of_life(random: Random) -> Callable[[], tuple[float, float]]:
    """Return how long an appliance is on, and then off, each time anew (seconds)."""
    kind = random.random()
    if kind < 0.5:  # a data centre: off for an hour at times
        return lambda: (random.uniform(20, 200) * DAY, random.uniform(0.01, 2) * HOUR)
    if kind < 0.75:  # a plant that is shut for days
        return lambda: (random.uniform(2, 20) * DAY, random.uniform(0.5, 9) * DAY)
    if kind < 0.9:  # a spare that sleeps for months, or for more than a year
        return lambda: (random.uniform(1, 60) * DAY, random.uniform(30, 420) * DAY)
    return lambda: (random.uniform(1, 30) * HOUR, random.uniform(1, 100) * HOUR)  # somebody's test machine


@dataclass
class World:
    """The console, the lives, and what happens next."""

    hub: Hub
    random: Random
    lives: list[Life] = field(default_factory=list)
    stolen: int = 0
    _events: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    def at(self, seconds: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._events, (seconds, next(self._count), what))

    async def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.hub.calendar.seconds, _, what = heapq.heappop(self._events)
            self.hub.look_after_itself()
            coming = what()
            if coming is not None:
                await coming  # type: ignore[misc]
        self.hub.calendar.seconds = until

    async def nothing(self) -> None:
        """Do nothing."""

    def begin(self, life: Life) -> None:
        self.lives.append(life)
        way = ways_of_life(self.random)

        def power() -> None:
            on, off = way()
            now = self.hub.calendar.seconds
            if not life.on:
                life.start()
            self.at(now + on, life.stop)
            self.at(now + on + off, power)

        async def look() -> None:
            now = self.hub.calendar.seconds
            life.cut_when_over()
            await life.look()
            assert life.in_vain < LOOKS, f"{life.name} is on, and stranded for a day: {life.faults[-5:]}"
            self.at(now + LOOK_EVERY * self.random.uniform(0.5, 1.5), look)

        async def steal() -> None:
            await self.try_what_was_replaced(life)
            self.at(self.hub.calendar.seconds + self.random.uniform(20, 80) * DAY, steal)

        self.at(self.hub.calendar.seconds, power)
        self.at(self.hub.calendar.seconds, look)
        self.at(self.hub.calendar.seconds + self.random.uniform(20, 80) * DAY, steal)

    def rotate(self) -> None:
        """Rotate the root thrice in the years, whoever sleeps meanwhile, and the intermediate now and then.

        Whoever does it waits for weeks between the steps, or for hours, or not at all, and then starts the console
        again after each.
        """
        authority, calendar = self.hub.authority, self.hub.calendar

        def then(step: Callable[[], object], *, restarted: bool = False) -> Callable[[], None]:
            def take() -> None:
                step()
                self.hub.certify()
                self.spread_the_word(restarted=restarted)

            return take

        for number, pause in enumerate(PAUSES):
            begin, hurried = (120 + 330 * number) * DAY, pause < DAY
            self.at(begin, then(lambda: authority.hand_on(now=calendar.now()), restarted=hurried))
            self.at(begin + pause, then(lambda: authority.promote(now=calendar.now()), restarted=hurried))
            self.at(begin + 2 * pause, then(authority.retire, restarted=hurried))
        for number in range(5):
            self.at((60 + 210 * number) * DAY, then(lambda: authority.renew_intermediate(now=calendar.now())))

    def spread_the_word(self, *, restarted: bool) -> None:
        """Tell whoever is connected whom to trust from now on, and cut all if the console was started again."""
        for life in self.lives:
            if life.connected:
                life.hear_whom_to_trust()
            life.connected = life.connected and not restarted

    async def try_what_was_replaced(self, life: Life) -> None:
        """Show certificates that were replaced, as a copy of an old disk would: none may be taken."""
        for chain in life.thief:
            if not self.hub.tls_takes(chain):
                continue
            with pytest.raises(WORTHLESS):
                await self.hub.admit(chain)
            self.stolen += 1


@asynccontextmanager
async def world(lives: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    directory = _in_memory()
    try:
        async with hubs.opened(directory) as hub:
            monkeypatch.setattr(recovering, "_Attempt", without_a_wire(hub))
            made = World(hub, Random(seed))
            for number in range(lives):
                name = f"dc{number}"
                random = Random(f"{seed} {name}")
                made.begin(await Life.paired(hub, directory / name, name, random))
            made.rotate()
            yield made
    finally:
        shutil.rmtree(directory)


def _in_memory() -> Path:
    return Path(tempfile.mkdtemp(prefix="lifetimes-", dir=MEMORY if MEMORY.is_dir() else None))


async def lived(lives: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(lives, seed, monkeypatch) as one:
        await one.run(YEARS * 365 * DAY)
        for life in one.lives:
            if not life.on:
                life.start()
        for _ in range(16):
            for life in one.lives:
                if not life.connected:
                    await life.call()
            one.hub.calendar.seconds += 6 * HOUR
        stranded = {life.name: life.faults[-3:] for life in one.lives if not life.connected}
        told = (
            f"{lives} lives of {YEARS} years: {sum(life.renewals for life in one.lives)} renewals, "
            f"{sum(life.recoveries for life in one.lives)} recoveries, "
            f"{sum(life.approvals for life in one.lives)} approvals by a person, {one.stolen} old certificates shown"
        )
        sys.stdout.write(f"{told}\n")
        assert not stranded, told
        assert one.stolen > lives, "the thief was there"
        assert sum(life.recoveries for life in one.lives) > lives // 2, "some slept for long"
        for life in one.lives:
            life_serial = life.identity.certificate().serial_number
            assert await one.hub.serial_of(life.gateway) == life_serial, (
                "the console knows one identity, and it is this"
            )
            await one.try_what_was_replaced(life)


async def test_three_years_of_a_few_appliances_leave_none_stranded_and_none_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await lived(5, 2027, monkeypatch)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_three_years_of_two_hundred_appliances_leave_none_stranded_and_none_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await lived(200, 11, monkeypatch)


async def test_a_console_that_takes_what_was_replaced_fails_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def life_with_a_careless_console() -> None:
        async with world(2, 5, monkeypatch) as one:
            monkeypatch.setattr("gateway.console.admission._refuse_unless_taken", lambda *_: None)
            await one.run(200 * DAY)

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await life_with_a_careless_console()


async def test_an_appliance_that_never_renews_lives_by_recoveries_until_a_person_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.console.recovery.BUDGET_SPAN", timedelta(days=365))
    async with world(1, 5, monkeypatch) as one:
        (life,) = one.lives
        monkeypatch.setattr(life, "renew_if_due", one.nothing)
        await one.run(200 * DAY)
    assert life.recoveries > 10
    assert life.approvals > 0
