"""This file is what an appliance knows of its commands, as a pure state machine.

::

              accept            began               ended
    (unknown) ------> accepted ------> running ------------> ended
                         |                |  ^
                         |                +--+  began again: the appliance was started anew
                         +--- ended (a later command took its place before it began)

Everything that changes the ledger is an entry. Methods that decide return the entries that would have to be
written; the journal writes them to disk and only then applies them here, so memory is never ahead of the disk.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from gateway.contract.commands import Command, DeleteCluster
from gateway.contract.events import CommandOutcome
from gateway.kit.errors import GatewayError, Remedy


class CommandChangedError(GatewayError):
    """A command's id was seen before with other content."""

    code = "command.changed"
    remedy = Remedy.DEVELOPER


class UnknownCommandError(GatewayError):
    """An entry speaks of a command that was never accepted: the journal is damaged."""

    code = "journal.damaged"
    remedy = Remedy.OPERATOR


class CommandState(StrEnum):
    """Where a command is in its life."""

    ACCEPTED = "accepted"
    """On disk, not begun."""
    RUNNING = "running"
    """Being carried out, or an attempt to carry it out was made."""
    ENDED = "ended"
    """Final."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A command is ours from now on."""

    command: Command


@dataclass(frozen=True, slots=True)
class Began:
    """An attempt to carry it out begins."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class StepBegan:
    """A step is about to act; `changes` says whether it changes anything outside."""

    command_id: UUID
    step: str
    changes: bool


@dataclass(frozen=True, slots=True)
class StepNoted:
    """A step has something to remember before it waits, such as the id of a vCenter task."""

    command_id: UUID
    step: str
    note: str


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step is done and will not be done again for this command."""

    command_id: UUID
    step: str


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A later command takes this one's place."""

    command_id: UUID
    by: UUID


@dataclass(frozen=True, slots=True)
class Ended:
    """The command has ended."""

    command_id: UUID
    outcome: CommandOutcome


Entry = Accepted | Began | StepBegan | StepNoted | StepDone | CancelAsked | Ended


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known of one step."""

    changes: bool = False
    note: str | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one command."""

    command: Command
    state: CommandState = CommandState.ACCEPTED
    attempts: int = 0
    cancelled_by: UUID | None = None
    outcome: CommandOutcome | None = None
    steps: dict[str, StepRecord] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """What the command works on."""
        return self.command.task.resource

    @property
    def has_changed_something(self) -> bool:
        """Whether a step that changes something has at least begun, in any attempt."""
        return any(step.changes for step in self.steps.values())


class Ledger:
    """All commands known, in the order in which they were accepted."""

    def __init__(self) -> None:
        self._records: dict[UUID, Record] = {}

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def get(self, command_id: UUID) -> Record | None:
        """Return what is known of a command, or None."""
        return self._records.get(command_id)

    def record(self, command_id: UUID) -> Record:
        """Return what is known of a command. Raises UnknownCommandError."""
        known = self._records.get(command_id)
        if known is None:
            raise UnknownCommandError(f"the journal speaks of command {command_id}, which it has never accepted")
        return known

    def accept(self, command: Command) -> list[Entry]:
        """Decide what accepting `command` writes; nothing when it is known already.

        Raises CommandChangedError when the id is known with other content.
        """
        known = self._records.get(command.id)
        if known is not None:
            if known.command != command:
                raise CommandChangedError(f"command {command.id} was accepted before with other content")
            return []
        return [Accepted(command), *(CancelAsked(old.command.id, command.id) for old in self._displaced_by(command))]

    def runnable(self) -> list[Command]:
        """Return the commands that may run now: of each resource the oldest that has not ended."""
        oldest: dict[str, Command] = {}
        for record in self:
            if record.state is not CommandState.ENDED:
                oldest.setdefault(record.resource, record.command)
        return list(oldest.values())

    def loose_steps(self, resource: str) -> list[tuple[str, StepRecord]]:
        """Return the steps on a resource, by name, that began to change something and were never done.

        Their effects may still come to pass. An ended command counts too: it may have ended by being displaced.
        """
        return [
            (name, step)
            for record in self
            if record.resource == resource
            for name, step in record.steps.items()
            if step.changes and not step.done
        ]

    def apply(self, entry: Entry) -> None:
        """Take an entry that is on disk into account. Raises UnknownCommandError."""
        if isinstance(entry, Accepted):
            self._records[entry.command.id] = Record(entry.command)
            return
        self._records[entry.command_id] = _after(self.record(entry.command_id), entry)

    def forget(self, command_id: UUID) -> None:
        """Drop an ended command that was removed from the disk."""
        self._records.pop(command_id, None)

    def _displaced_by(self, command: Command) -> list[Record]:
        """A delete need not wait for what it would undo anyway."""
        if not isinstance(command.task, DeleteCluster):
            return []
        return [
            old
            for old in self
            if old.resource == command.task.resource
            and old.state is not CommandState.ENDED
            and not isinstance(old.command.task, DeleteCluster)
        ]


def _after(record: Record, entry: Entry) -> Record:
    match entry:
        case Began():
            record = replace(record, state=CommandState.RUNNING, attempts=record.attempts + 1)
        case CancelAsked(by=by):
            record = replace(record, cancelled_by=by)
        case Ended(outcome=outcome):
            record = replace(record, state=CommandState.ENDED, outcome=outcome)
        case StepBegan(step=step, changes=changes):
            record = _with_step(record, step, lambda known: replace(known, changes=changes))
        case StepNoted(step=step, note=note):
            record = _with_step(record, step, lambda known: replace(known, note=note))
        case StepDone(step=step):
            record = _with_step(record, step, lambda known: replace(known, done=True))
    return record


def _with_step(record: Record, name: str, change: Callable[[StepRecord], StepRecord]) -> Record:
    return replace(record, steps=record.steps | {name: change(record.steps.get(name, StepRecord()))})
