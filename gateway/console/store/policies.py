"""This file is how is remembered what gateways say of their sites' policies, and what the console wishes of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from gateway.console.store.reading import read
from gateway.console.store.scope import Within
from gateway.console.store.tables import site_policies as table
from gateway.contract.policy import PolicyStanding, Tightening


@dataclass(frozen=True, slots=True)
class Proposed:
    """A policy that somebody at the console would like a site to have."""

    text: str
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """What is known of a site's policy, and what is wished of it."""

    standing: PolicyStanding | None = None
    proposed: Proposed | None = None
    tightening: Tightening | None = None
    tightened_by: str | None = None


async def of(rows: Within, gateway: UUID) -> SitePolicy:
    """Return what is known and wished; nothing of a gateway that has never said anything of a policy."""
    row = await rows.one(rows.select(table).where(table.c.gateway_id == gateway))
    return SitePolicy() if row is None else _policy(row)


async def keep(rows: Within, gateway: UUID, policy: SitePolicy) -> None:
    """Keep it, in place of what was known and wished before."""
    values = {
        "standing": None if policy.standing is None else policy.standing.model_dump(mode="json"),
        "proposal": None if policy.proposed is None else policy.proposed.text,
        "proposed_by": None if policy.proposed is None else policy.proposed.author,
        "proposed_at": None if policy.proposed is None else policy.proposed.at,
        "tightening": None if policy.tightening is None else policy.tightening.model_dump(mode="json"),
        "tightened_by": policy.tightened_by,
    }
    there = await rows.one(rows.select(table, table.c.gateway_id).where(table.c.gateway_id == gateway))
    if there is None:
        await rows.insert(table, gateway_id=gateway, **values)
    else:
        await rows.run(rows.update(table).where(table.c.gateway_id == gateway).values(**values))


async def forget(rows: Within, gateway: UUID) -> None:
    """Forget it with its gateway."""
    await rows.run(rows.delete(table).where(table.c.gateway_id == gateway))


def _policy(row: Row[Any]) -> SitePolicy:
    proposed = None if row.proposal is None else Proposed(row.proposal, row.proposed_by, row.proposed_at)
    return SitePolicy(
        standing=None if row.standing is None else read(PolicyStanding, row.standing, what="a policy's standing"),
        proposed=proposed,
        tightening=None if row.tightening is None else read(Tightening, row.tightening, what="a tightening"),
        tightened_by=row.tightened_by,
    )
