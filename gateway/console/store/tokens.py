"""This file is how registration tokens are remembered: their public half, and of the answer no secret."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from gateway.console.errors import TokenUnknownError
from gateway.console.records import PairingAnswer, Token
from gateway.console.store.reading import read
from gateway.console.store.scope import Within
from gateway.console.store.tables import registration_tokens as table


async def add(rows: Within, token: Token) -> None:
    """Remember a fresh token."""
    await rows.insert(
        table,
        id=token.id,
        gateway_name=token.gateway_name,
        public_key=token.public_key,
        author=token.author,
        repairs=token.repairs,
        confirm=token.confirm,
        created_at=token.created_at,
        expires_at=token.expires_at,
    )


async def every(rows: Within) -> list[Token]:
    """Return the scope's tokens, the newest first."""
    return [_token(row) for row in await rows.all(rows.select(table).order_by(table.c.created_at.desc(), table.c.id))]


async def get(rows: Within, token_id: str) -> Token:
    """Return one token, held against other writers until the transaction ends. Raises TokenUnknownError."""
    row = await rows.one(rows.select(table).where(table.c.id == token_id).with_for_update())
    if row is None:
        raise TokenUnknownError(
            f"there is no registration token {token_id!r}: list them and check its id", token=token_id
        )
    return _token(row)


async def repaired_by(rows: Within, token_id: str) -> UUID | None:
    """Return the gateway that a token pairs anew, if it is there and does; the token is not held."""
    row = await rows.one(rows.select(table, table.c.repairs).where(table.c.id == token_id))
    return None if row is None else row.repairs


async def open_repairs(rows: Within, gateway: UUID) -> list[str]:
    """Return the ids of the tokens, neither used nor revoked, that pair a gateway anew."""
    unused = table.c.used_at.is_(None), table.c.revoked_at.is_(None)
    found = await rows.all(rows.select(table, table.c.id).where(table.c.repairs == gateway, *unused))
    return [row.id for row in found]


async def open_named(rows: Within, gateway_name: str) -> list[str]:
    """Return the ids of the tokens, neither used nor revoked, for a gateway of that name.

    Not those that another pairing holds just now: it finds the name taken, and neither waits for the other.
    """
    unused = table.c.used_at.is_(None), table.c.revoked_at.is_(None)
    wanted = rows.select(table, table.c.id).where(table.c.gateway_name == gateway_name, *unused)
    return [row.id for row in await rows.all(wanted.with_for_update(skip_locked=True))]


async def revoke(rows: Within, token_id: str, *, now: datetime) -> None:
    """Note that a token was revoked."""
    await rows.run(rows.update(table).where(table.c.id == token_id).values(revoked_at=now))


async def used(rows: Within, token_id: str, *, by: str, answer: PairingAnswer, now: datetime) -> None:
    """Note by which device key a token was used, and what was answered."""
    found = rows.update(table).where(table.c.id == token_id)
    await rows.run(found.values(used_at=now, used_by=by, result=answer.model_dump(mode="json")))


async def answered(rows: Within, token_id: str, answer: PairingAnswer) -> None:
    """Note what was answered once more."""
    await rows.run(rows.update(table).where(table.c.id == token_id).values(result=answer.model_dump(mode="json")))


def _token(row: Row[Any]) -> Token:
    return Token(
        id=row.id,
        tenant=row.tenant_id,
        gateway_name=row.gateway_name,
        public_key=row.public_key,
        author=row.author,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
        used_by=row.used_by,
        answer=read(PairingAnswer, row.result, what=f"the registration token {row.id}") if row.result else None,
        repairs=row.repairs,
        confirm=row.confirm,
    )
