"""This file is what a handler holds while it carries out one command: its steps, its notes, its reports.

Before a step acts it is written that it begins; after, that it is done. A step that is done is not done again,
also not by a later attempt.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.commands import entries
from gateway.commands.journal import Journal
from gateway.commands.ledger import Record, StepRecord
from gateway.commands.steps import Declared, OutcomeUnknownError, Probed, Seen, StepUnsafeError
from gateway.contract.clusters import Machine
from gateway.contract.commands import Command
from gateway.contract.events import MachineSeen, StepBegan, StepDone, StepFailed, StepProgress
from gateway.contract.plans import Plan
from gateway.contract.problems import problem_of
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

RESULT = 200
"""Letters of a step's result that the journal keeps."""


@dataclass(slots=True)
class Step:
    """A step that is under way. Set `message` to say in a few words what came of it.

    `key` is the one written down when the step first began. Machines added to `seen`, and the `plan` that the step has
    made, are reported in the very write that says that the step is done.
    """

    name: str
    key: str | None = None
    message: str = ""
    seen: list[Machine] = field(default_factory=list)
    plan: Plan | None = None


Act = Callable[[Step], Awaitable[None]]


@dataclass(slots=True)
class Work:
    """One command being carried out."""

    command: Command
    journal: Journal
    clock: Clock

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
        await self.journal.write([entries.StepNoted(self.command.id, step, text)])

    @asynccontextmanager
    async def step(self, declared: Declared) -> AsyncIterator[Step]:
        """Surround the acting of a step with its entries and events; an error is reported and goes on upwards.

        Raises StepUnsafeError for a step that must not be done twice: `carry_out` knows how to.
        """
        if declared.is_once:
            raise StepUnsafeError(f"step {declared.name} must not be done twice: carry it out", step=declared.name)
        async with self._surrounded(declared) as step:
            yield step

    async def carry_out(self, declared: Declared, act: Act) -> None:
        """Do a step that was not done yet; where an earlier attempt may have done it, look first.

        Raises OutcomeUnknownError when that cannot be told; the command then ends as unknown.
        """
        if self.is_done(declared.name):
            return
        if declared.is_once and declared.name in self.record.in_doubt and await self._was_done(declared):
            return
        try:
            async with self._surrounded(declared) as step:
                await act(step)
        except GatewayError:
            if not declared.is_once or not await self._was_done(declared):
                raise

    @asynccontextmanager
    async def _surrounded(self, declared: Declared) -> AsyncIterator[Step]:
        command_id, name = self.command.id, declared.name
        known = self.record.steps.get(name)
        key = known.key if known is not None and known.key is not None else declared.key
        began = self.clock.monotonic()
        await self.journal.write(
            [entries.StepBegan(command_id, name, declared.kind, key)],
            [(command_id, StepBegan(step=name, title=declared.title))],
        )
        step = Step(name, key)
        try:
            yield step
        except GatewayError as error:
            await self.journal.write([], [(command_id, StepFailed(step=name, problem=problem_of(error)))])
            raise
        await self._done(step, seconds=self.clock.monotonic() - began)

    async def _done(self, step: Step, *, seconds: float) -> None:
        command_id = self.command.id
        told = step.plan.told() if step.plan is not None else None
        done = StepDone(step=step.name, message=step.message[:2000], seconds=round(seconds, 3), plan=told)
        reports = [(command_id, MachineSeen(machine=machine)) for machine in step.seen]
        entry = entries.StepDone(command_id, step.name, step.message[:RESULT])
        await self.journal.write([entry], [*reports, (command_id, done)])

    async def _was_done(self, declared: Declared) -> bool:
        """Ask a step's probe, and write down what it says. Raises OutcomeUnknownError when it cannot tell."""
        probed = await self._probed(declared)
        if probed.seen is Seen.DONE:
            await self._done(Step(declared.name, message=probed.evidence), seconds=0.0)
            return True
        if probed.seen is Seen.NOT_DONE:
            await self.journal.write([entries.StepUndone(self.command.id, declared.name)])
            return False
        raise unknown([declared.name], probed.evidence)

    async def _probed(self, declared: Declared) -> Probed:
        if declared.probe is None:
            return Probed(Seen.UNKNOWN, "it has no probe")
        try:
            return await declared.probe(self.noted(declared.name))
        except GatewayError as fault:
            return Probed(Seen.UNKNOWN, f"looking has failed: {fault.message}")

    async def progress(self, step: str, message: str, *, done: int | None = None) -> None:
        """Report how far a step is; too many reports too fast are thinned out."""
        self.journal.progress(self.command.id, StepProgress(step=step, message=message[:2000], done=done))


def unknown(steps: list[str], evidence: str) -> OutcomeUnknownError:
    """Return the error that says of which steps nobody knows whether they were done."""
    seen = f" ({evidence})" if evidence else ""
    return OutcomeUnknownError(
        f"nobody can tell whether {' and '.join(steps)} was done{seen}: look at it, then send a new command; this one "
        "is not carried out again",
        steps=", ".join(steps),
        evidence=evidence[:500],
    )
