"""This file is the promises of the lockdown: what runs is cut at once, and goes on when it is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.appliance import lockdown
from gateway.appliance.lockdown import Lockdown
from gateway.kit import supervise
from gateway.kit.clock import SystemClock


class Parts:
    """What an appliance does, as far as a lockdown sees it."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.began = 0
        self.running = asyncio.Event()
        self.ended = asyncio.Event()
        self.cut = asyncio.Event()
        self._stubborn = stubborn

    async def run(self) -> None:
        self.began += 1
        self.ended.clear()
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            if self._stubborn:
                await self.cut.wait()
            self.running.clear()
            self.ended.set()


@asynccontextmanager
async def kept(locked: Lockdown, parts: Parts) -> AsyncIterator[None]:
    keeping = locked.keep(parts.run, clock=SystemClock(), cut=parts.cut.set)
    async with supervise.running(keeping=keeping), asyncio.timeout(10):
        yield


async def held(locked: Lockdown, *, is_held: bool = True) -> None:
    while locked.is_held is not is_held:  # noqa: ASYNC110 - another process would look at the file, too
        await asyncio.sleep(0.005)


async def test_everything_is_cut_in_under_a_second_and_goes_on_when_it_is_over(tmp_path: Path) -> None:
    locked, parts, loop = Lockdown(tmp_path), Parts(), asyncio.get_running_loop()
    async with kept(locked, parts):
        await parts.running.wait()
        began = loop.time()
        locked.ask()
        await held(locked)
        assert parts.ended.is_set()
        assert loop.time() - began < 1.0
        locked.release()
        await parts.running.wait()
        assert parts.began == 2
        assert not locked.is_held


async def test_an_appliance_that_starts_locked_does_nothing(tmp_path: Path) -> None:
    locked, parts = Lockdown(tmp_path), Parts()
    locked.ask()
    async with kept(locked, parts):
        await held(locked)
        assert parts.began == 0


async def test_what_does_not_end_by_itself_is_cut_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockdown, "CUT_WITHIN", 0.05)
    locked, parts = Lockdown(tmp_path), Parts(stubborn=True)
    async with kept(locked, parts):
        await parts.running.wait()
        locked.ask()
        await held(locked)
        assert parts.cut.is_set()


async def test_what_ends_in_time_is_not_cut_hard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockdown, "CUT_WITHIN", 0.05)
    locked, parts = Lockdown(tmp_path), Parts()
    async with kept(locked, parts):
        await parts.running.wait()
        locked.ask()
        await held(locked)
        await asyncio.sleep(0.1)
        assert not parts.cut.is_set()


async def test_what_fails_fails_the_appliance(tmp_path: Path) -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Lockdown(tmp_path).keep(broken, clock=SystemClock())
