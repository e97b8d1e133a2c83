"""This file is registration tokens: made for a new gateway or to pair one anew, shown once, listed, revoked."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from gateway.console.errors import GatewayNameTakenError
from gateway.console.records import Gateway, Token
from gateway.console.store import audit, gateways
from gateway.console.store import tokens as rows_of
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.identity.tokens import RegistrationToken
from gateway.kit.clock import Clock

log = structlog.get_logger(__name__)


class Tokens:
    """The registration tokens of every tenant. `url` and `pins` say where the console is and how to know it."""

    def __init__(self, store: Store, *, url: str, pins: Callable[[], tuple[bytes, ...]], clock: Clock) -> None:
        self._store = store
        self._url = url
        self._pins = pins
        self._clock = clock

    async def make(
        self, scope: Scope, gateway: str, *, life: timedelta, author: str, confirm: bool = False
    ) -> tuple[Token, str]:
        """Return a fresh token and its text, which is known only now. Raises GatewayNameTakenError.

        With `confirm` a person has to compare fingerprints before the gateway may do anything.
        """
        async with self._store.writing(scope) as rows:
            if await gateways.find(rows, gateway) is not None:
                raise GatewayNameTakenError(
                    f"a gateway {gateway!r} is already paired: choose another name, or pair it anew in its place with "
                    f"`pcg gateway repair-token {gateway}`",
                    gateway=gateway,
                )
            wish = _Wish(gateway, None, life, author, confirm)
            return await self._made(rows, scope, wish)

    async def repair(
        self, scope: Scope, gateway: str, *, life: timedelta, author: str, confirm: bool = False
    ) -> tuple[Token, str]:
        """Return a fresh token that pairs a gateway anew in its place, and its text; it is the only one from now on.

        Raises GatewayUnknownError.
        """
        async with self._store.writing(scope) as rows:
            found = await gateways.held(rows, (await gateways.named(rows, gateway)).id)
            await end_repairs(rows, found, author=author, now=self._clock.now())
            return await self._made(rows, scope, _Wish(gateway, found.id, life, author, confirm))

    async def _made(self, rows: Within, scope: Scope, wish: "_Wish") -> tuple[Token, str]:
        now = self._clock.now()
        # The token's text counts in whole minutes; the row must not outlive what the text says.
        expires_at = (now + wish.life).replace(second=0, microsecond=0)
        made = RegistrationToken(
            self._url,
            secrets.token_bytes(10),
            secrets.token_bytes(32),
            self._pins(),
            expires_at,
            repairs=wish.repairs is not None,
        )
        token = Token(
            id=made.id,
            tenant=scope.tenant,
            gateway_name=wish.gateway,
            public_key=made.public_key,
            author=wish.author,
            created_at=now,
            expires_at=expires_at,
            revoked_at=None,
            used_at=None,
            used_by=None,
            answer=None,
            repairs=wish.repairs,
            confirm=wish.confirm,
        )
        await rows_of.add(rows, token)
        action = "token.create" if wish.repairs is None else "token.repair"
        until = expires_at.isoformat()
        await audit.note(rows, action, actor=wish.author, now=now, gateway=wish.gateway, token=made.id, until=until)
        log.info("registration token made", gateway=wish.gateway, token=made.id, author=wish.author, action=action)
        return token, made.text()

    async def every(self, scope: Scope) -> list[Token]:
        """Return the tokens of a tenant, the newest first."""
        async with self._store.reading(scope) as rows:
            return await rows_of.every(rows)

    async def revoke(self, scope: Scope, token_id: str, *, author: str) -> None:
        """Make a token worthless; a gateway that was paired with it stays. Raises TokenUnknownError."""
        async with self._store.writing(scope) as rows:
            token = await rows_of.get(rows, token_id)
            if token.revoked_at is None:
                now = self._clock.now()
                await rows_of.revoke(rows, token_id, now=now)
                name = token.gateway_name
                await audit.note(rows, "token.revoke", actor=author, now=now, gateway=name, token=token_id)
        log.info("registration token revoked", gateway=token.gateway_name, token=token_id, author=author)


async def end_repairs(rows: Within, gateway: Gateway, *, author: str, now: datetime) -> None:
    """Make every token worthless that would pair a gateway anew. The caller holds the gateway's row.

    One that was forgotten, or seen by somebody, would undo what was decided about the gateway since.
    """
    for token_id in await rows_of.open_repairs(rows, gateway.id):
        await rows_of.revoke(rows, token_id, now=now)
        await audit.note(rows, "token.revoke", actor=author, now=now, gateway=gateway.name, token=token_id)


async def end_others(rows: Within, token: Token, *, now: datetime) -> None:
    """Make every other token worthless that was made for the gateway which has just paired with this one.

    Somebody may hold one still; it would be good again the day the gateway is removed.
    """
    for token_id in await rows_of.open_named(rows, token.gateway_name):
        await rows_of.revoke(rows, token_id, now=now)
        await audit.note(rows, "token.revoke", actor=token.author, now=now, gateway=token.gateway_name, token=token_id)


@dataclass(frozen=True, slots=True)
class _Wish:
    gateway: str
    repairs: UUID | None
    life: timedelta
    author: str
    confirm: bool
