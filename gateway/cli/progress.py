"""This file is what a watcher knows of a command, or of a cluster with all of its, by events alone. It is pure."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from gateway.cli.plain import plain
from gateway.console.api.models import WatchedEvent
from gateway.contract.clusters import Machine, MachinePhase
from gateway.contract.events import (
    CommandBegan,
    CommandEnded,
    CommandOutcome,
    MachineSeen,
    StepBegan,
    StepDone,
    StepFailed,
    StepProgress,
)
from gateway.contract.plans import Plan

Machines = dict[str, Machine]


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step as it is shown. `since` is when it began, by the gateway's clock."""

    title: str
    since: datetime
    message: str = ""
    seconds: float | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything told so far of one command."""

    attempt: int = 0
    machines: Machines = field(default_factory=dict)
    steps: dict[str, StepLine] = field(default_factory=dict)
    ended: CommandEnded | None = None

    @property
    def under_way(self) -> dict[str, StepLine]:
        """The steps that have begun and not ended; none once the command has ended, however it was cut."""
        if self.ended is not None:
            return {}
        return {name: step for name, step in self.steps.items() if step.seconds is None and not step.failed}


@dataclass(frozen=True, slots=True)
class ClusterProgress:
    """Everything told so far of a cluster: its machines, and the steps of the commands that have not ended."""

    machines: Machines = field(default_factory=dict)
    commands: dict[UUID, Progress] = field(default_factory=dict)

    @property
    def under_way(self) -> dict[str, StepLine]:
        """The steps that have begun and not ended, of every command."""
        return {name: step for one in self.commands.values() for name, step in one.under_way.items()}


def after(known: Progress, event: WatchedEvent) -> Progress:
    """Return what is known of a command after one more event of it."""
    match event.body:
        case CommandBegan(attempt=attempt):
            return replace(known, attempt=attempt, steps={})
        case StepBegan(step=name, title=title):
            return _with_step(known, name, StepLine(title, event.at))
        case StepProgress(step=name, message=message):
            return _with_step(known, name, replace(_step(known, name, event.at), message=message))
        case StepDone(step=name, message=message, seconds=seconds):
            return _with_step(known, name, replace(_step(known, name, event.at), message=message, seconds=seconds))
        case StepFailed(step=name, problem=problem):
            return _with_step(known, name, replace(_step(known, name, event.at), message=problem.message, failed=True))
        case MachineSeen(machine=machine):
            return replace(known, machines=_with_machine(known.machines, machine))
        case CommandEnded() as ended:
            return replace(known, ended=ended)


def after_any(known: ClusterProgress, event: WatchedEvent) -> ClusterProgress:
    """Return what is known of a cluster after one more event of any of its commands.

    A gateway carries out one command of a cluster at a time: one that begins leaves nothing of the others under way.
    """
    match event.body:
        case CommandBegan():
            return replace(known, commands={event.command_id: after(Progress(), event)})
        case CommandEnded():
            return replace(
                known, commands={id_: told for id_, told in known.commands.items() if id_ != event.command_id}
            )
        case MachineSeen(machine=machine):
            return replace(known, machines=_with_machine(known.machines, machine))
    told = after(known.commands.get(event.command_id, Progress()), event)
    return replace(known, commands=known.commands | {event.command_id: told})


def line(event: WatchedEvent) -> str:
    """Return an event as one plain line; empty for what is not worth one."""
    match event.body:
        case CommandBegan(attempt=attempt):
            said = "began" if attempt == 1 else f"taken up again, attempt {attempt}"
        case StepBegan(step=name, title=title):
            said = f"{name}: {title}"
        case StepProgress(step=name, message=message):
            said = f"{name}: {message}"
        case StepDone(step=name, message=message, seconds=seconds):
            said = f"{name}: done in {seconds:.1f} s{'; ' + message if message else ''}"
        case StepFailed(step=name, problem=problem):
            said = f"{name}: failed: {problem.message} [{problem.code}]"
        case MachineSeen():
            return ""
        case CommandEnded() as ended:
            said = ending(ended)
    return plain(f"{event.at:%H:%M:%S} {event.cluster or event.gateway} {said}")


def plan_in(event: WatchedEvent) -> Plan | None:
    """Return the plan that an event tells of; it comes before anything is done by it."""
    return event.body.plan if isinstance(event.body, StepDone) else None


def ending(ended: CommandEnded) -> str:
    """Return how a command has ended, with the reason if it ended badly."""
    if ended.problem is None or ended.outcome is CommandOutcome.SUCCEEDED:
        return str(ended.outcome)
    return f"{ended.outcome}: {ended.problem.message} [{ended.problem.code}]"


def _step(known: Progress, name: str, at: datetime) -> StepLine:
    return known.steps.get(name, StepLine(name, at))


def _with_step(known: Progress, name: str, step: StepLine) -> Progress:
    return replace(known, steps=known.steps | {name: step})


def _with_machine(machines: Machines, machine: Machine) -> Machines:
    if machine.phase is MachinePhase.REMOVED:
        return {name: one for name, one in machines.items() if name != machine.name}
    return machines | {machine.name: machine}
