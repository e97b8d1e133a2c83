"""This file is who knows what of the console's authority: gateways' trust bundles and certificates, and open tokens.

The authority is one for all tenants, and so is the question whom a rotation would leave behind.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from gateway.console.records import Standing
from gateway.console.store.database import Store
from gateway.console.store.tables import gateways, registration_tokens, tenants


@dataclass(frozen=True, slots=True)
class Trusting:
    """A gateway, as far as a rotation of the authority is concerned. `trust_version` is 0 where it is not known."""

    tenant: str
    name: str
    trust_version: int
    certificate_until: datetime


@dataclass(frozen=True, slots=True)
class OpenToken:
    """A registration token that may still be used."""

    tenant: str
    id: str
    gateway: str


async def open_tokens(store: Store, *, made_before: datetime, now: datetime) -> list[OpenToken]:
    """Return the registration tokens of all tenants that were made before a moment and are still open."""
    found = (
        select(tenants.c.name.label("tenant"), registration_tokens.c.id, registration_tokens.c.gateway_name)
        .join(tenants, tenants.c.id == registration_tokens.c.tenant_id)
        .where(
            registration_tokens.c.created_at < made_before,
            registration_tokens.c.expires_at > now,
            registration_tokens.c.used_at.is_(None),
            registration_tokens.c.revoked_at.is_(None),
        )
        .order_by(tenants.c.name, registration_tokens.c.gateway_name, registration_tokens.c.id)
    )
    async with store.reading_unscoped("the authority is one for all tenants") as everybody:
        rows = (await everybody.run(found)).all()
    return [OpenToken(row.tenant, row.id, row.gateway_name) for row in rows]


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
