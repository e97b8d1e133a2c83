"""This file is what gateways keep of the console's authority: which trust bundle, and a certificate until when.

The authority is one for all tenants, and so is the question whom a rotation would leave behind.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from gateway.console.records import Standing
from gateway.console.store.database import Store
from gateway.console.store.tables import gateways, tenants


@dataclass(frozen=True, slots=True)
class Trusting:
    """A gateway, as far as a rotation of the authority is concerned. `trust_version` is 0 where it is not known."""

    tenant: str
    name: str
    trust_version: int
    certificate_until: datetime


async def every(store: Store) -> list[Trusting]:
    """Return the gateways of all tenants that may still connect, by tenant and name."""
    found = (
        select(tenants.c.name.label("tenant"), gateways.c.name, gateways.c.trust_version, gateways.c.certificate_until)
        .join(tenants, tenants.c.id == gateways.c.tenant_id)
        .where(gateways.c.standing != Standing.REVOKED.value)
        .order_by(tenants.c.name, gateways.c.name)
    )
    async with store.reading_unscoped("the authority is one for all tenants") as everybody:
        rows = (await everybody.run(found)).all()
    return [Trusting(row.tenant, row.name, row.trust_version, row.certificate_until) for row in rows]
