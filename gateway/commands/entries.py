"""This file is what the journal is made of: entries, one for each thing that happened to a command or a step."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from uuid import UUID

from gateway.contract.commands import Command
from gateway.contract.events import CommandOutcome


class StepKind(StrEnum):
    """What may be done with a step that began and of which nobody knows whether it was done."""

    READ = "read"
    """It changes nothing: it is done again."""
    DESIRED_STATE = "desired-state"
    """It brings something to a state and changes nothing that is there already: it is done again."""
    KEYED = "keyed"
    """Whoever carries it out knows it by its key: it is done again, with the key that was written down."""
    ONCE = "once"
    """It must not be done twice: its probe is asked first, and where that cannot tell, nothing is done."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A command is ours from now on."""

    command: Command

    @property
    def command_id(self) -> UUID:
        """The command's id."""
        return self.command.id


@dataclass(frozen=True, slots=True)
class Began:
    """An attempt to carry it out begins."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class StepBegan:
    """The intent: a step is about to act. `key` is what a keyed step is known by where it acts."""

    command_id: UUID
    step: str
    kind: StepKind
    key: str | None = None


@dataclass(frozen=True, slots=True)
class StepNoted:
    """A step has something to remember before it waits, such as the id of a vCenter task."""

    command_id: UUID
    step: str
    note: str


@dataclass(frozen=True, slots=True)
class StepDone:
    """The outcome: a step is done and will not be done again for this command; `result` in a few words."""

    command_id: UUID
    step: str
    result: str = ""


@dataclass(frozen=True, slots=True)
class StepUndone:
    """The other outcome: its probe has seen that the step was not done."""

    command_id: UUID
    step: str


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Another command ends this one, or takes its place."""

    command_id: UUID
    by: UUID


@dataclass(frozen=True, slots=True)
class PauseSet:
    """From now on nothing begins on a resource (None: at all), or begins again. `command_id` is who said so."""

    command_id: UUID
    on: str | None
    paused: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The command has ended."""

    command_id: UUID
    outcome: CommandOutcome


Entry = Accepted | Began | StepBegan | StepNoted | StepDone | StepUndone | CancelAsked | PauseSet | Ended
KINDS: Mapping[str, type[Entry]] = {
    kind.__name__: kind
    for kind in (Accepted, Began, StepBegan, StepNoted, StepDone, StepUndone, CancelAsked, PauseSet, Ended)
}


def written(entry: Entry) -> tuple[str, str]:
    """Return an entry's kind and its body as they are kept on the disk."""
    if isinstance(entry, Accepted):
        return Accepted.__name__, entry.command.model_dump_json()
    return type(entry).__name__, json.dumps(asdict(entry), default=str)


def read(kind: str, body: str) -> Entry:
    """Return the entry that was written as `kind` and `body`. Raises ValueError, KeyError or TypeError."""
    if kind == Accepted.__name__:
        return Accepted(Command.model_validate_json(body))
    fields = json.loads(body)
    if not isinstance(fields, dict):
        raise TypeError("an entry is an object")
    made: dict[str, object] = fields | {name: READERS[name](fields[name]) for name in READERS.keys() & fields.keys()}
    return KINDS[kind](**made)  # type: ignore[arg-type]


READERS = {"command_id": UUID, "by": UUID, "outcome": CommandOutcome, "kind": StepKind}
