"""This file is how many streams there may be, and how fast they may be opened: counted here, and refused beyond it."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.buckets import Bucket

Key = TypeVar("Key", bound=Hashable)


class StreamsBusyError(GatewayError):
    """The appliance carries, or opens, as many streams as it may."""

    code = "stream.busy"
    remedy = Remedy.RETRY


@dataclass(frozen=True, slots=True)
class Room:
    """How many streams there may be. A user has half a target at most, so that the other half is left for others.

    Each opening is written down: faster ones would push older lines out of the audit log.
    """

    all: int = 1000
    per_target: int = 200
    per_user: int = 100
    openings_a_second: float = 50.0
    openings_at_once: float = 1000.0


class Places:
    """The places that are taken now."""

    def __init__(self, room: Room, *, now: float) -> None:
        self._room = room
        self._all = 0
        self._targets: Counter[str] = Counter()
        self._shares: Counter[tuple[str, str]] = Counter()
        self._openings = Bucket(rate=room.openings_a_second, depth=room.openings_at_once, now=now)

    def take(self, *, target: str, user: str, now: float) -> None:
        """Take a place, which is to be given back. Raises StreamsBusyError."""
        room = self._room
        if self._all >= room.all:
            raise StreamsBusyError(f"the appliance carries {room.all} streams, the most it may: try again later")
        if self._targets[target] >= room.per_target:
            raise StreamsBusyError(f"the target has {room.per_target} streams, the most it may: try again later")
        if self._shares[target, user] >= room.per_user:
            raise StreamsBusyError(f"one user has {room.per_user} streams to the target, the most one may: close some")
        if not self._openings.take(now):
            raise StreamsBusyError(f"more than {room.openings_a_second:g} streams a second: try again in a moment")
        self._all += 1
        self._targets[target] += 1
        self._shares[target, user] += 1

    def give_back(self, *, target: str, user: str) -> None:
        """Give back a place that was taken."""
        self._all -= 1
        _one_less(self._targets, target)
        _one_less(self._shares, (target, user))


def _one_less(counts: Counter[Key], key: Key) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
