"""This file is how projects, users and their API keys are remembered."""

from datetime import datetime
from uuid import UUID

from gateway.console.errors import KeyUnknownError, ProjectUnknownError
from gateway.console.records import KeyRow, Project
from gateway.console.store.scope import Within
from gateway.console.store.tables import api_keys, projects, users
from gateway.kit import ids


async def project(rows: Within, name: str) -> Project:
    """Return the project of that name. Raises ProjectUnknownError."""
    row = await rows.one(rows.select(projects).where(projects.c.name == name))
    if row is None:
        raise ProjectUnknownError(f"there is no project {name!r}: check its name", project=name)
    return Project(row.id, row.name)


async def project_names(rows: Within) -> dict[UUID, str]:
    """Return the names of the scope's projects by their ids."""
    return {row.id: row.name for row in await rows.all(rows.select(projects))}


async def ensure_project(rows: Within, name: str, *, now: datetime) -> UUID:
    """Return the project's id; it is made when there is none."""
    row = await rows.one(rows.select(projects).where(projects.c.name == name))
    if row is not None:
        found: UUID = row.id
        return found
    made = ids.new_id(now)
    await rows.insert(projects, id=made, name=name, created_at=now)
    return made


async def ensure_user(rows: Within, name: str, *, now: datetime) -> UUID:
    """Return the user's id; it is made when there is none."""
    row = await rows.one(rows.select(users).where(users.c.name == name))
    if row is not None:
        found: UUID = row.id
        return found
    made = ids.new_id(now)
    await rows.insert(users, id=made, name=name, created_at=now)
    return made


async def has_keys(rows: Within) -> bool:
    """Tell whether the scope has any API key, revoked ones counted."""
    return bool(await rows.all(rows.select(api_keys, api_keys.c.id).limit(1)))


async def add_key(
    rows: Within, user: UUID, *, key_id: str, name: str, prefix: str, secret_hash: bytes, now: datetime
) -> None:
    """Remember an API key by the hash of its secret."""
    await rows.insert(
        api_keys,
        id=key_id,
        user_id=user,
        name=name,
        prefix=prefix,
        secret_hash=secret_hash,
        created_at=now,
    )


async def key_used(rows: Within, key_id: str, *, now: datetime) -> None:
    """Note that an API key was used."""
    await rows.run(rows.update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=now))


async def keys(rows: Within) -> list[KeyRow]:
    """Return the scope's API keys, the oldest first."""
    names = {row.id: row.name for row in await rows.all(rows.select(users))}
    found = await rows.all(rows.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
    return [
        KeyRow(row.id, row.name, names[row.user_id], row.created_at, row.last_used_at, row.revoked_at) for row in found
    ]


async def revoke_key(rows: Within, key_id: str, *, now: datetime) -> None:
    """Note that an API key was revoked; one that was stays as it is. Raises KeyUnknownError."""
    if await rows.one(rows.select(api_keys, api_keys.c.id).where(api_keys.c.id == key_id)) is None:
        raise KeyUnknownError(f"there is no API key {key_id!r}: list them and check its id", key=key_id)
    revoked = rows.update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
    await rows.run(revoked.values(revoked_at=now))
