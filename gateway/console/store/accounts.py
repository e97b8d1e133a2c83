"""This file is how sealed cloud accounts are remembered.

Of an account that was deleted the row stays, with nothing sealed in it: its next version is then higher than any that
the gateway has ever kept under that name.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from gateway.console.store.reading import read
from gateway.console.store.scope import Within
from gateway.console.store.tables import gateways
from gateway.console.store.tables import sealed_accounts as table
from gateway.contract.accounts import SealedAccount, SealingKey

GONE = ""


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """A sealed account, and who has sealed it last."""

    account: SealedAccount
    author: str
    created_at: datetime
    updated_at: datetime


async def every(rows: Within, gateway: UUID) -> list[StoredAccount]:
    """Return a gateway's accounts by name."""
    found = rows.select(table).where(table.c.gateway_id == gateway, table.c.sealed != GONE).order_by(table.c.name)
    return [_stored(row) for row in await rows.all(found)]


async def find(rows: Within, gateway: UUID, name: str) -> StoredAccount | None:
    """Return a gateway's account of that name, if any."""
    row = await rows.one(rows.select(table).where(*_named(gateway, name), table.c.sealed != GONE))
    return None if row is None else _stored(row)


async def last_version(rows: Within, gateway: UUID, name: str) -> int:
    """Return the version that the account of that name has or had last; 0 when there never was one."""
    row = await rows.one(rows.select(table, table.c.version).where(*_named(gateway, name)))
    return 0 if row is None else int(row.version)


async def put(rows: Within, gateway: UUID, account: SealedAccount, *, author: str, now: datetime) -> None:
    """Keep an account, in place of one of that name."""
    values = {
        "kind": account.kind,
        "version": account.version,
        "key_id": account.key_id,
        "sealed": account.sealed,
        "author": author,
        "updated_at": now,
    }
    there = rows.select(table, table.c.sealed).where(*_named(gateway, account.name))
    before = await rows.one(there)
    if before is None:
        await rows.insert(table, gateway_id=gateway, name=account.name, created_at=now, **values)
        return
    if before.sealed == GONE:
        values["created_at"] = now
    await rows.run(rows.update(table).where(*_named(gateway, account.name)).values(**values))


async def sealed_anew(rows: Within, gateway: UUID, account: SealedAccount) -> None:
    """Keep the same version of an account, sealed to another key; one that was changed meanwhile stays as it is."""
    same = rows.update(table).where(
        *_named(gateway, account.name), table.c.version == account.version, table.c.sealed != GONE
    )
    await rows.run(same.values(key_id=account.key_id, sealed=account.sealed))


async def remove(rows: Within, gateway: UUID, name: str, *, author: str, now: datetime) -> None:
    """Forget what was sealed, but not its version."""
    values = {"sealed": GONE, "author": author, "updated_at": now}
    await rows.run(rows.update(table).where(*_named(gateway, name)).values(**values))


async def remove_all(rows: Within, gateway: UUID) -> None:
    """Forget all of a gateway's accounts, which is removed itself."""
    await rows.run(rows.delete(table).where(table.c.gateway_id == gateway))


async def key_is(rows: Within, gateway: UUID, key: SealingKey) -> None:
    """Note what a gateway's accounts are to be sealed to from now on."""
    document = key.model_dump(mode="json")
    await rows.run(rows.update(gateways).where(gateways.c.id == gateway).values(sealing_key=document))


async def replaced_is_wished(rows: Within, gateway: UUID) -> str | None:
    """Return the id of the sealing key that a person wishes to be replaced, whether that was done or not."""
    row = await rows.one(rows.select(gateways, gateways.c.sealing_unwanted).where(gateways.c.id == gateway))
    return None if row is None else row.sealing_unwanted


async def wish_replaced(rows: Within, gateway: UUID, key_id: str) -> None:
    """Note that a person wishes this sealing key to be replaced."""
    await rows.run(rows.update(gateways).where(gateways.c.id == gateway).values(sealing_unwanted=key_id))


def _named(gateway: UUID, name: str) -> tuple[Any, Any]:
    return table.c.gateway_id == gateway, table.c.name == name


def _stored(row: Row[Any]) -> StoredAccount:
    columns = {"name": row.name, "kind": row.kind, "version": row.version, "key_id": row.key_id, "sealed": row.sealed}
    account = read(SealedAccount, columns, what=f"the sealed account {row.name!r}")
    return StoredAccount(account, row.author, row.created_at, row.updated_at)
