"""This file is the few doors at which the tenant is not known yet: a key, a token or a certificate names it.

Each returns no more than it takes to enter a scope; everything else is read within that scope.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select

from gateway.console.records import ApiKey, Caller
from gateway.console.store.database import Store
from gateway.console.store.tables import api_keys, gateways, registration_tokens, tenants, users
from gateway.kit import ids


async def key(store: Store, key_id: str) -> ApiKey | None:
    """Return an API key and whose it is."""
    found = (
        select(api_keys, users.c.name.label("user_name"), tenants.c.name.label("tenant_name"))
        .join(users, users.c.id == api_keys.c.user_id)
        .join(tenants, tenants.c.id == api_keys.c.tenant_id)
        .where(api_keys.c.id == key_id)
    )
    async with store.reading_unscoped("an API key names its tenant") as every:
        row = (await every.run(found)).one_or_none()
    if row is None:
        return None
    caller = Caller(
        tenant=row.tenant_id,
        tenant_name=row.tenant_name,
        user=row.user_name,
        key_id=row.id,
        key_name=row.name,
    )
    return ApiKey(row.id, row.tenant_id, row.secret_hash, row.last_used_at, row.revoked_at, caller)


async def tenant_of_token(store: Store, token_id: str) -> UUID | None:
    """Return the tenant that made a registration token."""
    async with store.reading_unscoped("a registration token names its tenant") as every:
        found = select(registration_tokens.c.tenant_id).where(registration_tokens.c.id == token_id)
        tenant: UUID | None = await every.scalar(found)
    return tenant


async def tenant_of_gateway(store: Store, gateway: UUID) -> UUID | None:
    """Return the tenant a gateway was paired with."""
    async with store.reading_unscoped("a client certificate names its gateway, which names its tenant") as every:
        tenant: UUID | None = await every.scalar(select(gateways.c.tenant_id).where(gateways.c.id == gateway))
    return tenant


async def every_tenant(store: Store) -> list[UUID]:
    """Return every tenant; for what the console does for each of them in turn."""
    async with store.reading_unscoped("what is done for each tenant begins with who they are") as every:
        return [row.id for row in (await every.run(select(tenants.c.id).order_by(tenants.c.id))).all()]


async def tenant_named(store: Store, name: str, *, now: datetime) -> UUID:
    """Return the tenant of that name; it is made when there is none."""
    async with store.writing_unscoped("a tenant is made before anything can belong to it") as every:
        found: UUID | None = await every.scalar(select(tenants.c.id).where(tenants.c.name == name))
        if found is not None:
            return found
        made = ids.new_id(now)
        await every.run(insert(tenants).values(id=made, name=name, created_at=now, last_position=0))
        return made
