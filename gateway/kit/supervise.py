"""This file is how long-lived parts run side by side: all of them, or none."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from gateway.kit.backoff import Backoff
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

log = structlog.get_logger(__name__)


class PartEndedError(GatewayError):
    """A part that should run for ever has ended by itself."""

    code = "internal.part_ended"


@asynccontextmanager
async def running(**parts: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the named coroutines beside the body; leaving the body cancels them and waits for their end.

    A part that ends or fails before the body does ends the body too, with its error (or PartEndedError),
    alone rather than wrapped when only one part failed.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_for_ever(name, part), name=name) for name, part in parts.items()]
            yield
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as several:
        if len(several.exceptions) == 1:
            raise several.exceptions[0] from several.exceptions[0].__cause__
        raise
    finally:
        for part in parts.values():
            part.close()  # a task cancelled before its first step has never begun its part


async def first_of(*waits: Coroutine[Any, Any, Any]) -> int:
    """Wait for the first of several and return its place among them; the others are cancelled. What fails is raised."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = next(number for number, task in enumerate(tasks) if task.done())
        for task in tasks:
            task.cancel()
    return first


async def _for_ever(name: str, part: Coroutine[Any, Any, None]) -> None:
    await part
    raise PartEndedError(f"{name} ended by itself")


async def keep_running(
    name: str,
    run: Callable[[], Awaitable[None]],
    *,
    clock: Clock,
    backoff: Backoff,
    worked_since: Callable[[], float | None] | None = None,
) -> None:
    """Run `run` again and again, pausing by `backoff` after each end, or as long as the error asks for.

    A failure is logged when it is another than the one before; so is the end of the trouble, once a run has lasted.
    What takes long before it works at all says with `worked_since` from when it did in its last run, by the clock's
    monotonic time, or None: to fail slowly is not to have lasted.
    """
    told: str | None = None
    while True:
        began, fault = clock.monotonic(), "it ended by itself"
        cause: Exception | None = None
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - atop a loop that logs
            cause, fault = _telling(error), f"{type(error).__name__}: {error}"
        worked = worked_since() if worked_since is not None else began
        if worked is not None and backoff.succeeded_for(clock.monotonic() - worked) and told is not None:
            log.info("part had recovered", part=name)
            told = None
        if fault != told:
            log.warning("part failed, will be run again", part=name, error=fault)
            told = fault
        await clock.sleep(backoff.next_delay(cause))


def _telling(error: Exception) -> Exception:
    """Return the error itself, or the first of ours among several that happened at once."""
    if not isinstance(error, ExceptionGroup):
        return error
    return next((one for one in map(_telling, error.exceptions) if isinstance(one, GatewayError)), error)


async def until_asked_to_stop() -> None:
    """Wait for SIGTERM or SIGINT; while waiting neither ends the process by itself."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
