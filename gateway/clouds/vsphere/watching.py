"""This file is how changes in vCenter are waited for: one batched read for all that wait, until each has its answer.

Polling, and not WaitForUpdatesEx: a poll is bounded by itself, survives a lost session or a restart of
vCenter without state to rebuild, and 500 objects are one call of some tens of milliseconds.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pyVmomi import vmodl

from gateway.clouds.port import CloudUnreachableError
from gateway.clouds.vsphere import faults, reading
from gateway.clouds.vsphere.foreign import Kind, Reference
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4
"""Seconds between two reads: short after a new question, for many tasks end at once, then twice as long each time."""
PATIENCE = 90.0
"""Seconds that vCenter may be silent before those who wait are told: it restarts its services in less."""

Decide = Callable[[reading.Properties | None], T | None]
"""Is given an object's properties, or None once it is gone; returns the answer, None to wait on, or raises."""


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    about: Reference
    kind: Kind
    paths: tuple[str, ...]
    decide: Decide[Any]
    answer: asyncio.Future[Any]


class Watch:
    """Answers questions about objects as soon as vCenter shows the answer; `run` must be running."""

    def __init__(self, collector: Reference, *, clock: Clock) -> None:
        self._collector = collector
        self._clock = clock
        self._questions: set[_Question] = set()
        self._asked = asyncio.Event()
        self._pause = FIRST_PAUSE

    async def until(self, about: Reference, paths: tuple[str, ...], *, kind: Kind, decide: Decide[T]) -> T:
        """Wait until `decide` returns something else than None and return it; the caller sets the limit.

        `about` is the object and `kind` its type. Raises what `decide` raises, and CloudUnreachableError
        after PATIENCE.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        question = _Question(about, kind, paths, decide, answer)
        self._questions.add(question)
        self._asked.set()
        self._pause = FIRST_PAUSE
        try:
            return await answer
        finally:
            self._questions.discard(question)

    async def run(self) -> None:
        """Read and answer, for ever; sleeps while nobody asks."""
        last_heard = self._clock.monotonic()
        while True:
            if not self._questions:
                self._asked.clear()
                await self._asked.wait()
                last_heard = self._clock.monotonic()
            try:
                await self._look()
                last_heard = self._clock.monotonic()
            except (GatewayError, vmodl.MethodFault) as fault:
                silent = self._clock.monotonic() - last_heard
                if not isinstance(fault, CloudUnreachableError) or silent > PATIENCE:
                    self._give_up(fault)
            await self._clock.sleep(self._pause)
            self._pause = min(LONGEST_PAUSE, self._pause * 2)

    async def _look(self) -> None:
        waiting = list(self._questions)
        for kind in {question.kind for question in waiting}:
            alike = [question for question in waiting if question.kind is kind]
            paths = sorted({path for question in alike for path in question.paths})
            found = await reading.of(self._collector, {one.about for one in alike}, paths, kind=kind)
            for question in alike:
                _tell(question, found.get(question.about))

    def _give_up(self, fault: Exception) -> None:
        """Tell everybody who waits, each with an error of their own: tracebacks grow on shared ones."""
        error = fault if isinstance(fault, GatewayError) else faults.error_of(fault)
        for question in self._questions:
            if not question.answer.done():
                question.answer.set_exception(type(error)(error.message, **error.facts))


def _tell(question: _Question, found: reading.Properties | None) -> None:
    if question.answer.done():
        return
    try:
        answer = question.decide(found)
    except (GatewayError, vmodl.MethodFault) as fault:
        question.answer.set_exception(fault)
        return
    if answer is not None:
        question.answer.set_result(answer)
