"""This file is how vCenter's tasks are waited for.

The fields of a task's info are read one by one: its `name` may be a method that pyVmomi does not know, and
would make the whole unreadable.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim, vmodl

from gateway.clouds.port import CloudTaskError
from gateway.clouds.vsphere import reading
from gateway.clouds.vsphere.foreign import Fault, Reference, Structure
from gateway.clouds.vsphere.watching import Watch

STATE, RESULT, ERROR = "info.state", "info.result", "info.error"
TRIES = 3
"""How often a change begins anew when something else works on the object at that moment."""

Begin = Callable[[], Awaitable[Reference]]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task has ended: with a result, with a fault, or so long ago that vCenter has forgotten it."""

    result: Any = None
    fault: Fault = None
    forgotten: bool = False


async def ended(watch: Watch, task: Reference) -> Ended:
    """Wait until a task has ended, however it ended."""
    return await watch.until(task, (STATE, RESULT, ERROR), kind=vim.Task, decide=_decide)


async def outcome(watch: Watch, task: Reference) -> Structure:
    """Wait for a task and return its result; raises the fault it failed with, CloudTaskError when it is forgotten."""
    end = await ended(watch, task)
    if end.forgotten:
        raise CloudTaskError("vCenter has forgotten the task before it told how it ended")
    if end.fault is not None:
        raise end.fault
    return end.result


async def done(watch: Watch, begin: Begin) -> Structure:
    """Begin a task, wait for it and return its result; one that is in its way is waited out first, TRIES times."""
    for _ in range(TRIES):
        try:
            return await outcome(watch, await begin())
        except vim.fault.TaskInProgress as fault:
            await ended(watch, fault.task)
    return await outcome(watch, await begin())


def _decide(found: reading.Properties | None) -> Ended | None:
    if found is None:
        return Ended(forgotten=True)
    match found.get(STATE):
        case "success":
            return Ended(result=found.get(RESULT))
        case "error":
            return Ended(fault=found.get(ERROR) or vmodl.fault.SystemError(reason="vCenter gives no reason"))
        case _:
            return None
