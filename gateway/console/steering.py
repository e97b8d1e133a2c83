"""This file is what it takes to cancel a command that no gateway has heard of yet, and when none can be cancelled."""

from dataclasses import replace

from gateway.console import pictures, projection
from gateway.console.errors import CommandCalledOffError, CommandOnItsWayError, CommandOverError
from gateway.console.projection import Picture
from gateway.console.records import CommandState, Gateway, StoredCommand
from gateway.console.store import commands, events
from gateway.console.store.events import Occurrence
from gateway.console.store.scope import Within
from gateway.contract.events import CommandEnded, CommandOutcome
from gateway.contract.problems import problem_of
from gateway.kit.clock import Clock


def refuse_what_cannot_be_cancelled(known: StoredCommand) -> None:
    """Return for a command that can be. Raises CommandOverError or CommandOnItsWayError."""
    if known.state.has_ended:
        raise CommandOverError(f"command {known.id} has ended ({known.state}): there is nothing to cancel")
    if known.state is CommandState.PENDING and known.sent_at is not None:
        raise CommandOnItsWayError(
            f"command {known.id} was sent, and gateway {known.gateway_name!r} has not answered yet: cancel it when it "
            "has been accepted"
        )


async def called_off(rows: Within, gateway: Gateway, known: StoredCommand, *, clock: Clock) -> StoredCommand:
    """End a command that was never sent; its cluster is what it was before."""
    now = clock.now()
    problem = problem_of(CommandCalledOffError("it was cancelled before it was sent to the gateway"))
    ended = CommandEnded(outcome=CommandOutcome.CANCELLED, problem=problem)
    before = await pictures.read(rows, known.id, gateway=gateway.id) or Picture(known)
    changed = projection.reported(before, ended, now=now)
    changed = replace(changed, command=replace(changed.command, accepted_at=None))
    await pictures.write(rows, before, changed, clock=clock)
    await events.append(rows, gateway, [Occurrence(None, known.id, known, ended, now)])
    return await commands.get(rows, known.id)
