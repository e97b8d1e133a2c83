"""This file is what the journal needs of a disk: rows that are flushed together, or not written at all."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

from gateway.kit.errors import GatewayError, Remedy


class JournalError(GatewayError):
    """The journal cannot be read or written."""

    code = "journal.unusable"
    remedy = Remedy.OPERATOR


class DiskFullError(JournalError):
    """There is no room left to write the journal."""

    code = "journal.disk_full"
    remedy = Remedy.OPERATOR


class EntryRow(NamedTuple):
    """An entry as it is kept; `at` is seconds since 1970."""

    at: float
    command_id: UUID
    kind: str
    body: str


class EventRow(NamedTuple):
    """A numbered event as it is kept."""

    number: int
    at: float
    command_id: UUID
    body: str


class Ending(NamedTuple):
    """That a command has ended: the number of its last event, and whether steps of it may still take effect."""

    command_id: UUID
    last_event: int
    loose: bool


class Move(NamedTuple):
    """Every event above `above` gets a number that is higher by `by`; all up to `above + by` counts as acknowledged."""

    above: int
    by: int


@dataclass(slots=True)
class Batch:
    """What is written in one transaction. A move comes before anything else of it."""

    at: float
    entries: list[EntryRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    move: Move | None = None
    acknowledged: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.entries or self.events or self.endings or self.move or self.acknowledged)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a disk holds of commands that the console does not know to have ended.

    `endings` are those of them that have ended, each with the number of its last event.
    """

    entries: list[EntryRow]
    endings: dict[UUID, int]
    last_event: int
    acknowledged: int


class Disk(Protocol):
    """Where a journal is kept. Every method may raise JournalError, and then has changed nothing that is seen later.

    The one exception: a batch that failed, or that a power cut met, may turn out to be there after the next start.
    """

    async def load(self) -> Loaded:
        """Return what was written, in the order of writing."""

    async def append(self, batch: Batch) -> None:
        """Write a batch; when this returns it outlasts a power cut. A cancellation takes effect afterwards."""

    async def find(self, command_id: UUID) -> str | None:
        """Return the body a command was accepted with, however long it is over; None if it is not kept."""

    async def events_after(self, number: int, *, limit: int) -> list[EventRow]:
        """Return up to `limit` events with numbers above `number`, in order."""

    async def delete(self, before: float, *, keep: Collection[UUID], limit: int) -> list[UUID]:
        """Remove up to `limit` commands that the console knew to have ended before that time; return which."""

    async def free_bytes(self) -> int:
        """Return how many bytes there is room for, the reserve not counted."""
