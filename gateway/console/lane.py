"""This file is which commands go to a gateway next: a few at a time, in order, and not while it takes none. It is pure.

::

    pending ──> delivered, unanswered ──> accepted … ended          at most 16 unanswered, 64 not ended
                     └── deferred ──> it and what is for the same resource wait half a minute, then come in order

Commands about commands go first, and are never held: they are what one sends when all else waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from gateway.contract.commands import CONTROL

IN_FLIGHT = 16
MOST_UNFINISHED = 64
"""Commands that a gateway has accepted and not ended, above which it is given no other."""
DEFERRED_FOR = 30.0
"""Seconds after which what was deferred is sent again."""
ANSWER_LIMIT = 60.0


class Waiting(NamedTuple):
    """A command that waits to be delivered."""

    id: UUID
    resource: str


@dataclass(slots=True)
class Lane:
    """The deliveries of one connection."""

    unanswered: dict[UUID, tuple[str, float]] = field(default_factory=dict)
    """Commands that were delivered: the resource of each, and since when."""
    held: dict[str, float] = field(default_factory=dict)
    """Resources of which a command was deferred, and until when nothing for them is sent."""

    def next(self, pending: Sequence[Waiting], *, unfinished: int, now: float) -> list[UUID]:
        """Return which of `pending`, in its order, are delivered now; they count as unanswered from now on."""
        self.held = {resource: until for resource, until in self.held.items() if until > now}
        waiting = [one for one in pending if one.id not in self.unanswered and one.resource not in self.held]
        first = [one for one in waiting if one.resource == CONTROL]
        room = max(0, MOST_UNFINISHED - unfinished - len(self.unanswered))
        others = [one for one in waiting if one.resource != CONTROL][:room]
        chosen = [*first, *others][: max(0, IN_FLIGHT - len(self.unanswered))]
        self.unanswered.update({one.id: (one.resource, now) for one in chosen})
        return [one.id for one in chosen]

    def answered(self, command: UUID) -> None:
        """Take note that a command was accepted or rejected, or that it was not sent after all."""
        self.unanswered.pop(command, None)

    def deferred(self, command: UUID, *, now: float) -> None:
        """Take note that a command was not taken: it stays pending, and what comes after it waits too."""
        resource, _ = self.unanswered.pop(command, (None, 0.0))
        if resource is not None:
            self.held[resource] = now + DEFERRED_FOR

    def is_silent(self, now: float) -> bool:
        """Tell whether an answer is overdue."""
        oldest = min((since for _, since in self.unanswered.values()), default=None)
        return oldest is not None and now - oldest > ANSWER_LIMIT
