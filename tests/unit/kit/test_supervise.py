"""This file is the promises of parts that run side by side."""

import asyncio
import os
import signal

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from gateway.kit import supervise
from gateway.kit.backoff import Backoff
from gateway.kit.errors import GatewayError
from gateway.kit.supervise import PartEndedError
from tests.fakes.clock import HandClock


async def for_ever() -> None:
    await asyncio.Event().wait()


async def failing() -> None:
    raise LookupError("part")


async def test_a_part_that_fails_ends_the_body_with_its_own_error() -> None:
    with pytest.raises(LookupError, match="part"):
        async with supervise.running(good=for_ever(), bad=failing()):
            await asyncio.Event().wait()


async def test_a_part_that_ends_by_itself_is_named() -> None:
    async def short() -> None:
        await asyncio.sleep(0)

    with pytest.raises(PartEndedError, match="reader ended"):
        async with supervise.running(reader=short()):
            await asyncio.Event().wait()


async def test_an_error_of_the_body_is_not_wrapped_and_ends_the_parts() -> None:
    ended = asyncio.Event()

    async def part() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def body() -> None:
        async with supervise.running(part=part()):
            await asyncio.sleep(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await body()
    assert ended.is_set()


async def test_leaving_the_body_cancels_the_parts_and_waits_until_they_have_ended() -> None:
    said: list[str] = []

    async def part(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            said.append(name)

    async with supervise.running(one=part("one"), two=part("two")):
        await asyncio.sleep(0)
    assert sorted(said) == ["one", "two"]


async def test_a_body_that_ends_at_once_leaves_no_part_that_never_began() -> None:
    """Warnings are errors here: a coroutine that was never awaited would fail this test."""
    async with supervise.running(one=for_ever(), two=for_ever()):
        pass


async def test_a_failure_while_the_parts_are_being_ended_is_not_lost() -> None:
    async def part() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("at the end")

    with pytest.raises(LookupError, match="at the end"):
        async with supervise.running(part=part()):
            await asyncio.sleep(0)


async def test_when_several_parts_fail_all_are_told() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with supervise.running(one=failing(), two=failing()):
            await asyncio.Event().wait()
    assert len(caught.value.exceptions) == 2


async def test_cancelling_from_outside_ends_the_parts_and_stays_a_cancellation() -> None:
    ended, began = asyncio.Event(), asyncio.Event()

    async def part() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def whole() -> None:
        async with supervise.running(part=part()):
            await asyncio.sleep(0)
            began.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(whole())
        await began.wait()
        task.cancel()
    assert task.cancelled()
    assert ended.is_set()


class Flaky:
    """Runs as its script says: an error to raise, or seconds to last before it ends by raising the next word."""

    def __init__(self, clock: HandClock, *script: tuple[float, str | None]) -> None:
        self.clock = clock
        self.script = list(script)
        self.runs = 0
        self.played = asyncio.Event()

    async def run(self) -> None:
        if not self.script:
            self.played.set()
            await asyncio.Event().wait()
        self.runs += 1
        lasted, fault = self.script.pop(0)
        await self.clock.sleep(lasted)
        if fault is not None:
            raise LookupError(fault)


async def logged(*script: tuple[float, str | None]) -> list[EventDict]:
    clock = HandClock()
    flaky = Flaky(clock, *script)
    backoff = Backoff(lambda: 0.5, first=1.0, cap=8.0, stable=60.0)
    with capture_logs() as said:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(supervise.keep_running("link", flaky.run, clock=clock, backoff=backoff))
            await flaky.played.wait()
            task.cancel()
    assert flaky.runs == len(script)
    return said


async def test_the_same_failure_again_and_again_is_logged_once() -> None:
    said = await logged((0, "no route"), (0, "no route"), (1, "no route"))
    assert [(one["log_level"], one["error"]) for one in said] == [("warning", "LookupError: no route")]


async def test_each_different_failure_is_logged() -> None:
    said = await logged((0, "no route"), (0, "no name"), (0, "no name"), (0, "no route"))
    assert [one["error"].split(": ")[1] for one in said] == ["no route", "no name", "no route"]


async def test_an_end_without_an_error_is_told_too() -> None:
    assert [one["error"] for one in await logged((0, None), (0, None))] == ["it ended by itself"]


async def test_recovery_is_logged_and_the_same_failure_after_it_is_news_again() -> None:
    said = await logged((0, "no route"), (61, "no route"), (0, "no route"))
    assert [one["event"] for one in said] == [
        "part failed, will be run again",
        "part had recovered",
        "part failed, will be run again",
    ]


async def test_a_run_that_did_not_last_is_no_recovery() -> None:
    said = await logged((0, "no route"), (59, "no route"))
    assert len(said) == 1


async def test_the_pause_grows_and_begins_anew_after_a_run_that_lasted() -> None:
    clock = HandClock()
    flaky = Flaky(clock, (0, "a"), (0, "a"), (0, "a"), (60, "a"), (0, "a"))
    pauses: list[float] = []
    sleep = clock.sleep

    async def noting(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(seconds)

    clock.sleep = noting  # type: ignore[method-assign]
    backoff = Backoff(lambda: 0.5, first=1.0, cap=8.0, stable=60.0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervise.keep_running("link", flaky.run, clock=clock, backoff=backoff))
        await flaky.played.wait()
        task.cancel()
    assert pauses == [0, 0.5, 0, 1.0, 0, 2.0, 60, 0.5, 0, 1.0]


class BusyError(GatewayError):
    """Come back later."""

    code = "test.busy_peer"


async def pauses_of(*faults: Exception) -> list[float]:
    """Return how long is paused after each of these ends."""
    clock, pauses, left, played = HandClock(), list[float](), list(faults), asyncio.Event()

    async def run() -> None:
        if not left:
            played.set()
            await asyncio.Event().wait()
        raise left.pop(0)

    sleep = clock.sleep

    async def noting(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(seconds)

    clock.sleep = noting  # type: ignore[method-assign]
    backoff = Backoff(lambda: 0.0, first=1.0, cap=8.0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervise.keep_running("link", run, clock=clock, backoff=backoff))
        await played.wait()
        task.cancel()
    return pauses


async def test_a_pause_that_an_error_asks_for_is_kept_also_when_it_is_one_of_several() -> None:
    both = ExceptionGroup("two", [LookupError(), ExceptionGroup("one", [BusyError(retry_after=40.0)])])
    assert await pauses_of(LookupError(), BusyError(retry_after=20.0), both) == [0.0, 20.0, 40.0]


@pytest.mark.parametrize(("worked", "last"), [(None, 4.0), (40.0, 4.0), (10.0, 1.0)])
async def test_only_the_time_it_has_worked_counts_as_lasting(worked: float | None, last: float) -> None:
    """Each run takes 80 s; to fail slowly is not to have lasted."""
    clock, pauses = HandClock(), list[float]()
    flaky = Flaky(clock, (80, "a"), (80, "a"), (80, "a"))
    began = 0.0

    async def run() -> None:
        nonlocal began
        began = clock.monotonic()
        await flaky.run()

    class Noting(Backoff):
        def next_delay(self, fault: Exception | None = None) -> float:
            pauses.append(super().next_delay(fault))
            return pauses[-1]

    backoff = Noting(lambda: 1.0, first=1.0, cap=8.0, stable=60.0)
    since = (lambda: None) if worked is None else (lambda: began + worked)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervise.keep_running("link", run, clock=clock, backoff=backoff, worked_since=since))
        await flaky.played.wait()
        task.cancel()
    assert pauses[-1] == last


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_wait_and_not_the_process(number: signal.Signals) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(supervise.until_asked_to_stop())
        await asyncio.sleep(0)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(20):
            await waiting
