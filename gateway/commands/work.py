"""This file is what a handler holds while it carries out one command: its steps, its notes, its reports.

Before a step acts it is written that it begins; after, that it is done. A step that is done is not done again,
also not by a later attempt.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.commands import ledger
from gateway.commands.journal import Journal
from gateway.commands.ledger import Record, StepRecord
from gateway.contract.clusters import Machine
from gateway.contract.commands import Command
from gateway.contract.events import MachineSeen, StepBegan, StepDone, StepFailed, StepProgress
from gateway.contract.problems import problem_of
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

PROGRESS_PAUSE = 0.5
"""Seconds between two reports of progress of one step; what comes sooner is dropped, for the next says more."""


@dataclass(slots=True)
class Step:
    """A step that is under way. Set `message` to say in a few words what came of it.

    Machines added to `seen` are reported in the very write that says that the step is done.
    """

    name: str
    message: str = ""
    seen: list[Machine] = field(default_factory=list)


@dataclass(slots=True)
class Work:
    """One command being carried out."""

    command: Command
    journal: Journal
    clock: Clock
    _reported: dict[str, float] = field(default_factory=dict)

    @property
    def record(self) -> Record:
        """What the ledger says of the command now."""
        return self.journal.ledger.record(self.command.id)

    def is_done(self, step: str) -> bool:
        """Tell whether a step was done, in this attempt or an earlier one."""
        known = self.record.steps.get(step)
        return known is not None and known.done

    def open_steps(self) -> list[str]:
        """Return the steps that an earlier attempt has begun and that are not done: each is to be ended by this one."""
        return [name for name, step in self.record.steps.items() if not step.done]

    def noted(self, step: str) -> str | None:
        """Return what a step has noted, in this attempt or an earlier one."""
        known = self.record.steps.get(step)
        return known.note if known is not None else None

    def loose_steps(self) -> list[tuple[str, StepRecord]]:
        """Return the unfinished steps of any command on the same resource, by name: their effects may still come."""
        return self.journal.ledger.loose_steps(self.command.task.resource)

    async def note(self, step: str, text: str) -> None:
        """Write down something to remember about a step, before waiting for its effect."""
        await self.journal.write([ledger.StepNoted(self.command.id, step, text)])

    @asynccontextmanager
    async def step(self, name: str, title: str, *, changes: bool) -> AsyncIterator[Step]:
        """Surround the acting of a step with its entries and events; an error is reported and goes on upwards."""
        command_id = self.command.id
        await self.journal.write(
            [ledger.StepBegan(command_id, name, changes)], [(command_id, StepBegan(step=name, title=title))]
        )
        began = self.clock.monotonic()
        step = Step(name)
        try:
            yield step
        except GatewayError as error:
            await self.journal.write([], [(command_id, StepFailed(step=name, problem=problem_of(error)))])
            raise
        seconds = round(self.clock.monotonic() - began, 3)
        done = StepDone(step=name, message=step.message[:2000], seconds=seconds)
        reports = [(command_id, MachineSeen(machine=machine)) for machine in step.seen]
        await self.journal.write([ledger.StepDone(command_id, name)], [*reports, (command_id, done)])

    async def progress(self, step: str, message: str, *, done: int | None = None) -> None:
        """Report how far a step is; too many reports too fast are thinned out."""
        now = self.clock.monotonic()
        if now - self._reported.get(step, -PROGRESS_PAUSE) < PROGRESS_PAUSE:
            return
        self._reported[step] = now
        event = StepProgress(step=step, message=message[:2000], done=done)
        await self.journal.write([], [(self.command.id, event)])
