"""This file is how a call to the database is finished even when its caller is cancelled meanwhile.

A call that is cut in the middle leaves the driver's thread at work on a connection that is thrown away, and a
thrown-away connection of SQLite can keep the write lock until it is collected as garbage. So nobody cuts one:
the cancellation is taken note of, the call runs to its end (it is short), and then the caller is cancelled.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finished(work: Coroutine[Any, Any, T], *, undo: Callable[[T], Coroutine[Any, Any, None]] | None = None) -> T:
    """Run `work` to its end and return its result; a cancellation is raised only then.

    `undo` gives back what `work` has taken, for a caller that is cancelled and will never hear of it.
    """
    # Not in a group: a group would pass the cancellation on. The task never outlives this call.
    task = asyncio.get_running_loop().create_task(work)
    cancelled = await _ended(task)
    if cancelled is None:
        return task.result()
    if task.exception() is None and undo is not None:
        await finished(undo(task.result()))
    raise cancelled


async def _ended(task: "asyncio.Task[Any]") -> asyncio.CancelledError | None:
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as fault:
            cancelled = fault
    return cancelled
