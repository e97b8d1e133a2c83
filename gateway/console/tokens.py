"""This file is registration tokens: made, shown once, listed, revoked."""

import secrets
from collections.abc import Callable
from datetime import timedelta

import structlog

from gateway.console.errors import GatewayNameTakenError
from gateway.console.records import Token
from gateway.console.store import gateways
from gateway.console.store import tokens as rows_of
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
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

    async def make(self, scope: Scope, gateway: str, *, life: timedelta, author: str) -> tuple[Token, str]:
        """Return a fresh token and its text, which is known only now. Raises GatewayNameTakenError."""
        now = self._clock.now()
        # The token's text counts in whole minutes; the row must not outlive what the text says.
        expires_at = (now + life).replace(second=0, microsecond=0)
        made = RegistrationToken(self._url, secrets.token_bytes(10), secrets.token_bytes(32), self._pins(), expires_at)
        token = Token(
            id=made.id,
            tenant=scope.tenant,
            gateway_name=gateway,
            public_key=made.public_key,
            author=author,
            created_at=now,
            expires_at=expires_at,
            revoked_at=None,
            used_at=None,
            used_by=None,
            result=None,
        )
        async with self._store.writing(scope) as rows:
            if await gateways.find(rows, gateway) is not None:
                raise GatewayNameTakenError(
                    f"a gateway {gateway!r} is already paired: choose another name, or remove that one first",
                    gateway=gateway,
                )
            await rows_of.add(rows, token)
        log.info("registration token made", gateway=gateway, token=token.id, author=author)
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
                await rows_of.revoke(rows, token_id, now=self._clock.now())
        log.info("registration token revoked", gateway=token.gateway_name, token=token_id, author=author)
