"""This file is how events leave the appliance: in order, in bounded batches, again until acknowledged."""

from gateway.commands.journal import Journal
from gateway.contract.events import CommandEnded, CommandOutcome, Event
from gateway.contract.messages import REPORT_EVENTS
from gateway.contract.version import DEFERRED_SINCE, PROTOCOL

BATCH_BYTES = 32 * 1024
"""Bytes of events in one report, unless one alone has more: few enough for a slow link to carry in time."""


class Outbox:
    """The events of one connection. A new connection begins after the last event that the console has."""

    def __init__(self, journal: Journal, *, after: int, protocol: int = PROTOCOL) -> None:
        self._journal = journal
        self._sent = after
        self._protocol = protocol

    async def next_batch(self) -> list[Event]:
        """Wait until there are events that were not sent on this connection, and return the next of them."""
        while True:
            events = await self._journal.events_after(self._sent, limit=REPORT_EVENTS)
            if events:
                batch = _up_to([self._understood(one) for one in events], BATCH_BYTES)
                self._sent = batch[-1].number
                return batch
            async with self._journal.changed:
                if self._journal.last_event <= self._sent:
                    await self._journal.changed.wait()

    def _understood(self, event: Event) -> Event:
        """Say an outcome that an older console does not know in a word that it does; the problem tells the rest."""
        body = event.body
        if self._protocol >= DEFERRED_SINCE or not isinstance(body, CommandEnded):
            return event
        if body.outcome is not CommandOutcome.UNKNOWN:
            return event
        return event.model_copy(update={"body": body.model_copy(update={"outcome": CommandOutcome.FAILED})})


def _up_to(events: list[Event], size: int) -> list[Event]:
    """Return as many events as fit into `size` bytes, but at least one."""
    taken = 0
    for index, event in enumerate(events):
        taken += len(event.model_dump_json().encode())
        if taken > size and index:
            return events[:index]
    return events
