"""This file is what is done when something is the matter with a gateway's identity: told, audited, and acted on.

Each is part of the caller's transaction, which holds the gateway's row.
"""

from datetime import datetime

import structlog

from gateway.console import conditions
from gateway.console.records import AuditOutcome, Gateway, Standing
from gateway.console.store import audit, standing
from gateway.console.store.scope import Within
from gateway.contract.conditions import Condition

CONSOLE = "the console"
"""Who acts when nobody has asked."""

log = structlog.get_logger(__name__)


async def tell(rows: Within, gateway: Gateway, condition: Condition, *, now: datetime) -> None:
    """Show a condition; it is audited when it is new."""
    if not await standing.add_condition(rows, gateway.id, condition):
        return
    log.warning("gateway condition", gateway=gateway.name, condition=condition.type, reason=condition.message)
    await audit.note(
        rows,
        f"gateway.{condition.type}",
        actor=CONSOLE,
        now=now,
        gateway=gateway.name,
        outcome=AuditOutcome.ENDED,
        reason=condition.message,
    )


async def quarantine(rows: Within, gateway: Gateway, how: str, *, now: datetime) -> None:
    """Shut a gateway out of which there are two; `how` tells what was noticed, as a part of a sentence."""
    await tell(rows, gateway, conditions.cloned(gateway.name, how, now=now), now=now)
    # Who was revoked stays so: a quarantine ends with less.
    if gateway.standing is not Standing.REVOKED:
        await standing.set_standing(rows, gateway.id, Standing.QUARANTINED)


async def pause(rows: Within, gateway: Gateway, condition: Condition, *, now: datetime) -> None:
    """Let a gateway do nothing until a person has looked."""
    await tell(rows, gateway, condition, now=now)
    if gateway.standing is Standing.ACTIVE:
        await standing.set_standing(rows, gateway.id, Standing.PAUSED)
