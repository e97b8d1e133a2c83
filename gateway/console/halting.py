"""This file is what is done when a gateway has noticed that this console knows less than it did: it was put back.

::

    hello, offers: halted ── new to us ── a condition, and the audit log     (the gateway takes nothing new)
    pcg gateway release   ── the condition goes ── lane resumed is said until the gateway is halted no more
"""

from datetime import datetime
from uuid import UUID

from gateway.console import alarms, conditions
from gateway.console.records import Gateway
from gateway.console.store import gateways, standing
from gateway.console.store.scope import Within
from gateway.contract.signing import Halt


async def heard(rows: Within, gateway: Gateway, halt: Halt | None, *, now: datetime) -> None:
    """Note whether a gateway takes nothing new, and why; the gateway's row is held."""
    before = await gateways.halt(rows, gateway.id)
    if halt is None:
        if before is not None:
            await gateways.halted(rows, gateway.id, None)
            await standing.clear_condition(rows, gateway.id, conditions.CONSOLE_BEHIND)
        return
    if before != halt.id:
        await gateways.halted(rows, gateway.id, halt.id)
        await alarms.tell(rows, gateway, conditions.console_behind(gateway.name, halt.reasons, now=now), now=now)


async def seen_to(rows: Within, gateway: UUID) -> UUID | None:
    """Return the gateway's halt if a person has released it, and the gateway has not said that it is over."""
    halt = await gateways.halt(rows, gateway)
    if halt is None:
        return None
    there = {one.type for one in await standing.conditions(rows, gateway)}
    return None if conditions.CONSOLE_BEHIND in there else halt
