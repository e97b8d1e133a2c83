"""This file is what an appliance knows of its commands, as a pure state machine.

::

              accept            began               ended
    (unknown) ------> accepted ------> running ------------> ended
                         |                |  ^
                         |                +--+  began again: the appliance was started anew
                         +--- ended (it was cancelled, or displaced, before it began)

Everything that changes the ledger is an entry. Methods that decide return the entries that would have to be written,
with the events that tell of them; the journal writes them to disk and only then applies them here, so memory is never
ahead of the disk. Commands that cancel, pause and resume are carried out by being written down: they wait for nobody.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from gateway.commands.entries import (
    Accepted,
    Began,
    CancelAsked,
    Ended,
    Entry,
    PauseSet,
    StepBegan,
    StepDone,
    StepKind,
    StepNoted,
    StepUndone,
)
from gateway.contract.commands import CancelCommand, Command, DeleteCluster, PauseCommands, ResumeCommands
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, EventBody
from gateway.contract.problems import problem_of
from gateway.kit.errors import GatewayError, Remedy

Said = tuple[UUID, EventBody]


class CommandChangedError(GatewayError):
    """A command's id was seen before with other content."""

    code = "command.changed"
    remedy = Remedy.DEVELOPER


class UnknownCommandError(GatewayError):
    """An entry speaks of a command that was never accepted: the journal is damaged."""

    code = "journal.damaged"
    remedy = Remedy.OPERATOR


class NothingToCancelError(GatewayError):
    """The command that was to be cancelled is over, or was never accepted here."""

    code = "command.nothing_to_cancel"
    remedy = Remedy.CALLER


class CommandState(StrEnum):
    """Where a command is in its life."""

    ACCEPTED = "accepted"
    """On disk, not begun."""
    RUNNING = "running"
    """Being carried out, or an attempt to carry it out was made."""
    ENDED = "ended"
    """Final."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known of one step. `settled`: the last intent has an outcome."""

    kind: StepKind = StepKind.READ
    key: str | None = None
    note: str | None = None
    done: bool = False
    settled: bool = True

    @property
    def changes(self) -> bool:
        """Whether it changes anything outside."""
        return self.kind is not StepKind.READ


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

    @property
    def loose(self) -> dict[str, StepRecord]:
        """The steps, by name, that began to change something and were never done."""
        return {name: step for name, step in self.steps.items() if step.changes and not step.done}

    @property
    def in_doubt(self) -> list[str]:
        """The steps that must not be done twice and of which nobody knows whether they were done."""
        return [name for name, step in self.steps.items() if step.kind is StepKind.ONCE and not step.settled]


class Decision(NamedTuple):
    """What is to be written: entries, the events that tell of them, and what the console has acknowledged."""

    entries: Sequence[Entry] = ()
    said: Sequence[Said] = ()
    acknowledged: int = 0
    counted_to: int = 0
    """Event numbers go on behind this one, if it is higher than the last."""


class Ledger:
    """Commands that are open, or not yet known to the console as ended, in the order in which they were accepted."""

    def __init__(self) -> None:
        self._records: dict[UUID, Record] = {}
        self._pauses: dict[str | None, UUID] = {}
        self._open: dict[UUID, None] = {}
        """The ids of commands that have not ended, in the order in which they were accepted."""

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    @property
    def unfinished(self) -> int:
        """How many commands have not ended."""
        return len(self._open)

    @property
    def pauses(self) -> dict[str | None, UUID]:
        """What is paused (None: everything), and by which command."""
        return dict(self._pauses)

    def draft(self) -> "Ledger":
        """Return a copy to decide on what is not on disk yet."""
        copy = Ledger()
        copy._records, copy._pauses, copy._open = dict(self._records), dict(self._pauses), dict(self._open)
        return copy

    def get(self, command_id: UUID) -> Record | None:
        """Return what is known of a command, or None."""
        return self._records.get(command_id)

    def record(self, command_id: UUID) -> Record:
        """Return what is known of a command. Raises UnknownCommandError."""
        known = self._records.get(command_id)
        if known is None:
            raise UnknownCommandError(f"the journal speaks of command {command_id}, which it has never accepted")
        return known

    def accept(self, command: Command) -> Decision:
        """Decide what accepting `command` writes; nothing when it is known already.

        Raises CommandChangedError when the id is known with other content.
        """
        known = self._records.get(command.id)
        if known is not None:
            check_same(known.command, command)
            return Decision()
        accepted = Decision([Accepted(command)])
        match command.task:
            case CancelCommand(command_id=target):
                return _joined(accepted, self._cancel(command, target))
            case PauseCommands(on=on) | ResumeCommands(on=on):
                paused = isinstance(command.task, PauseCommands)
                return _joined(accepted, Decision([PauseSet(command.id, on, paused)]), _ended(command.id))
            case DeleteCluster():
                return _joined(accepted, *(_called_off(old, command.id) for old in self._displaced_by(command)))
        return accepted

    def begin(self, command_id: UUID) -> Decision:
        """Decide what the begin of an attempt writes; nothing when it was called off or held meanwhile."""
        known = self._records.get(command_id)
        if known is None or known.state is CommandState.ENDED or known.cancelled_by is not None or self._held(known):
            return Decision()
        return Decision([Began(command_id)], [(command_id, CommandBegan(attempt=known.attempts + 1))])

    def abandon(self, commands: Collection[UUID]) -> Decision:
        """Decide what it takes never to carry these commands out (again), for whoever sent them knows them over."""
        found = [self._records[one] for one in self.open_commands() if one in commands]
        return _joined(*(_called_off(one, one.command.id) for one in found if one.cancelled_by is None))

    def open_commands(self) -> list[UUID]:
        """Return the commands that have not ended, in the order in which they were accepted."""
        return list(self._open)

    def runnable(self) -> list[Command]:
        """Return the commands that may run now: of each resource the oldest that has not ended, unless paused."""
        oldest: dict[str, Record] = {}
        for one in self.open_commands():
            known = self._records[one]
            oldest.setdefault(known.resource, known)
        return [known.command for known in oldest.values() if not self._held(known)]

    def loose_steps(self, resource: str) -> list[tuple[str, StepRecord]]:
        """Return the steps on a resource, by name, that began to change something and were never done.

        Their effects may still come to pass. An ended command counts too: it may have ended by being displaced.
        """
        return [found for record in self if record.resource == resource for found in record.loose.items()]

    def apply(self, entry: Entry) -> None:
        """Take an entry that is on disk into account. Raises UnknownCommandError."""
        if isinstance(entry, Accepted):
            self._records[entry.command.id] = Record(entry.command)
            self._open[entry.command.id] = None
            return
        if isinstance(entry, PauseSet):
            self._pause(entry)
            return
        self._records[entry.command_id] = _after(self.record(entry.command_id), entry)
        if isinstance(entry, Ended):
            self._open.pop(entry.command_id, None)

    def forget(self, command_id: UUID) -> None:
        """Drop an ended command: the console knows, or it was removed from the disk."""
        self._records.pop(command_id, None)

    def _held(self, record: Record) -> bool:
        """Tell whether a pause keeps a command from beginning; one that has begun goes on."""
        paused = None in self._pauses or record.resource in self._pauses
        return paused and record.state is CommandState.ACCEPTED

    def _pause(self, entry: PauseSet) -> None:
        if entry.paused:
            self._pauses[entry.on] = entry.command_id
        elif entry.on is None:
            self._pauses.clear()
        else:
            self._pauses.pop(entry.on, None)

    def _cancel(self, command: Command, target: UUID) -> Decision:
        known = self._records.get(target)
        if known is not None and known.state is not CommandState.ENDED:
            return _joined(_called_off(known, command.id), _ended(command.id))
        what = "was never accepted here, or is over for long" if known is None else f"has ended: {known.outcome}"
        error = NothingToCancelError(f"command {target} {what}; there is nothing to cancel", command=str(target))
        refused = CommandEnded(outcome=CommandOutcome.REFUSED, problem=problem_of(error))
        return Decision([Ended(command.id, CommandOutcome.REFUSED)], [(command.id, refused)])

    def _displaced_by(self, command: Command) -> list[Record]:
        """A delete need not wait for what it would undo anyway."""
        found = (self._records[one] for one in self.open_commands())
        return [
            old
            for old in found
            if old.resource == command.task.resource and not isinstance(old.command.task, DeleteCluster)
        ]


def check_same(known: Command, command: Command) -> None:
    """Do nothing when a command came again as it was. Raises CommandChangedError."""
    if known != command:
        raise CommandChangedError(f"command {command.id} was accepted before with other content")


def _joined(*parts: Decision) -> Decision:
    return Decision([entry for part in parts for entry in part.entries], [said for part in parts for said in part.said])


def _ended(command_id: UUID, outcome: CommandOutcome = CommandOutcome.SUCCEEDED) -> Decision:
    return Decision([Ended(command_id, outcome)], [(command_id, CommandEnded(outcome=outcome))])


def _called_off(record: Record, by: UUID) -> Decision:
    """What has not begun ends at once; what runs is asked to, and ends when its handler has let go."""
    asked = Decision([CancelAsked(record.command.id, by)])
    if record.state is CommandState.RUNNING:
        return asked
    return _joined(asked, _ended(record.command.id, CommandOutcome.CANCELLED))


def _after(record: Record, entry: Entry) -> Record:
    match entry:
        case Began():
            record = replace(record, state=CommandState.RUNNING, attempts=record.attempts + 1)
        case CancelAsked(by=by):
            record = replace(record, cancelled_by=by)
        case Ended(outcome=outcome):
            record = replace(record, state=CommandState.ENDED, outcome=outcome)
        case StepBegan(step=step, kind=kind, key=key):
            record = _with_step(record, step, lambda known: replace(known, kind=kind, key=key, settled=False))
        case StepNoted(step=step, note=note):
            record = _with_step(record, step, lambda known: replace(known, note=note))
        case StepDone(step=step):
            record = _with_step(record, step, lambda known: replace(known, done=True, settled=True))
        case StepUndone(step=step):
            record = _with_step(record, step, lambda known: replace(known, settled=True))
    return record


def _with_step(record: Record, name: str, change: Callable[[StepRecord], StepRecord]) -> Record:
    return replace(record, steps=record.steps | {name: change(record.steps.get(name, StepRecord()))})
