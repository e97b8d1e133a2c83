"""This file is what is done about a gateway that was put back to an older state, say by a snapshot: a new epoch begins.

What the console knows of its events stays, and the gateway counts on behind them. Commands that the gateway had and
has no more may have been carried out or not: nobody knows, so they end as unknown and are never sent again. Those that
it has again although they are over, it is told to drop.
"""

from uuid import UUID

import structlog

from gateway.console import alarms, conditions, pictures, projection
from gateway.console.records import CommandState, Gateway, Heading
from gateway.console.store import commands, events, standing
from gateway.console.store.events import Occurrence
from gateway.console.store.reading import RecordUnreadableError
from gateway.console.store.scope import Within
from gateway.contract.events import CommandEnded, CommandOutcome
from gateway.contract.messages import Hello
from gateway.contract.problems import Problem, problem_of
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)


class GatewayPutBackError(GatewayError):
    """The gateway was put back to a state from before the command: nobody knows how far it had come."""

    code = "command.gateway_put_back"
    remedy = Remedy.OPERATOR


async def gone_back(rows: Within, gateway: Gateway, hello: Hello, *, epoch: int, clock: Clock) -> tuple[UUID, ...]:
    """Begin the epoch; return those of the gateway's open commands that are over."""
    lost = await _end_lost(rows, gateway, hello, clock)
    if epoch > gateway.epoch:
        now = clock.now()
        await standing.begin_epoch(rows, gateway.id, epoch)
        condition = conditions.rolled_back(
            gateway.name, gateway.acknowledged, hello.next_event, lost=len(lost), now=now
        )
        await alarms.tell(rows, gateway, condition, now=now)
        log.warning("gateway rolled back", epoch=epoch, lost=[str(one.id) for one in lost])
    return tuple(await commands.ended_among(rows, gateway.id, hello.open_commands))


async def _end_lost(rows: Within, gateway: Gateway, hello: Hello, clock: Clock) -> list[Heading]:
    there = set(hello.open_commands)
    lost = [one for one in await commands.taken_on(rows, gateway.id) if one.id not in there]
    problem = problem_of(
        GatewayPutBackError(
            f"gateway {gateway.name!r} was put back to a state from before this command: look at what it has left, "
            "and send the wish again",
            gateway=gateway.name,
        )
    )
    for heading in lost:
        await _end(rows, gateway, heading, problem=problem, clock=clock)
    return lost


async def _end(rows: Within, gateway: Gateway, heading: Heading, *, problem: Problem, clock: Clock) -> None:
    now = clock.now()
    ended = CommandEnded(outcome=CommandOutcome.UNKNOWN, problem=problem)
    try:
        before = await pictures.read(rows, heading.id, gateway=gateway.id)
    except RecordUnreadableError:
        await commands.end(rows, heading.id, CommandState.UNKNOWN, problem=problem, now=now)
    else:
        if before is not None:
            await pictures.write(rows, before, projection.reported(before, ended, now=now), clock=clock)
    # Whoever watches the command has to learn that nothing more will come.
    await events.append(rows, gateway, [Occurrence(None, heading.id, heading, ended, now)])
