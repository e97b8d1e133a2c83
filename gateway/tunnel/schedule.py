"""This file is whose turn it is: fair queueing over the streams that have something to send.

::

    lively   streams that send little, or were declared interactive      served first
    bulk     streams that keep the queue full                            served in turn, one frame each;
                                                                         one after eight lively frames at the latest

A stream begins lively unless it was declared bulk; one that uses up LIVELY_ALLOWANCE without a pause goes to bulk, and
comes back when its queue has run empty and REST has gone by. So nobody has to tell which stream is a shell (the idea
is fq_codel's, RFC 8290), but who knows may.
"""

from collections import deque
from enum import StrEnum
from typing import Protocol

from gateway.tunnel.limits import KIB

LIVELY_ALLOWANCE = 32 * KIB
REST = 0.05
"""Seconds with nothing to send after which a stream counts as lively again."""
GUARD = 8
LIVELY_FOR = 0.2
"""Seconds that bulk goes in small frames after a lively one was seen."""


class Lane(StrEnum):
    """What a stream is for, as its opener says; AUTO lets its behaviour tell."""

    AUTO = "auto"
    INTERACTIVE = "interactive"
    BULK = "bulk"


class Queued(Protocol):
    """What the schedule needs of a stream."""

    lane: Lane
    spent: int
    """Bytes sent since it was last at rest."""
    rested_at: float | None
    """When its queue ran empty; None while there is something in it."""
    scheduled: bool


class Schedule:
    """The streams that have something to send and may send it."""

    def __init__(self) -> None:
        self._lively: deque[Queued] = deque()
        self._bulk: deque[Queued] = deque()
        self._in_a_row = 0
        self._lively_until = 0.0

    @property
    def idle(self) -> bool:
        """Whether nobody waits."""
        return not self._lively and not self._bulk

    @property
    def only_bulk(self) -> bool:
        """Whether all who wait are bulk."""
        return not self._lively

    def is_lively(self, now: float) -> bool:
        """Whether a lively stream was active just now, so that frames should be small."""
        return now < self._lively_until

    def add(self, stream: Queued, now: float) -> None:
        """Let a stream wait for its turn; one that waits already keeps its place."""
        if stream.scheduled:
            return
        stream.scheduled = True
        if stream.rested_at is not None and now - stream.rested_at > REST:
            stream.spent = 0
        stream.rested_at = None
        (self._lively if self._counts_as_lively(stream) else self._bulk).append(stream)

    def next(self) -> Queued:
        """Return whose turn it is and take it out; add it again if it has more."""
        if self._lively and (not self._bulk or self._in_a_row < GUARD):
            self._in_a_row += 1
            stream = self._lively.popleft()
        else:
            self._in_a_row = 0
            stream = self._bulk.popleft()
        stream.scheduled = False
        return stream

    def sent(self, stream: Queued, size: int, now: float) -> None:
        """Take note of what the stream sent."""
        if self._bulk and self._counts_as_lively(stream):
            self._lively_until = now + LIVELY_FOR
        stream.spent += size

    def remove(self, stream: Queued) -> None:
        """Forget a stream."""
        if stream.scheduled:
            stream.scheduled = False
            for queue in (self._lively, self._bulk):
                if stream in queue:
                    queue.remove(stream)

    def _counts_as_lively(self, stream: Queued) -> bool:
        if stream.lane is Lane.AUTO:
            return stream.spent < LIVELY_ALLOWANCE
        return stream.lane is Lane.INTERACTIVE
