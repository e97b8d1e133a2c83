"""This file is API keys: how they are made, and who a request comes from.

::

    pcgkey1_ <16 hexadecimal digits: the key's id> _ <43 characters: 32 random bytes, base64url>

Only the SHA-256 of the secret is kept: it is random and long, so there is nothing to guess and nothing to slow
down. What is compared is compared in constant time, and an unknown id costs as much as a wrong secret.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from gateway.console.limits import spoken
from gateway.console.records import ApiKey, Caller
from gateway.console.store import doors, people
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)

SHAPE = re.compile(r"pcgkey1_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
NOTED_EVERY = timedelta(minutes=1)
"""How exactly the last use of a key is known; not every read is worth a write."""


class NotSignedInError(GatewayError):
    """The request has no valid API key."""

    code = "auth.not_signed_in"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class FreshKey:
    """An API key at the only moment its secret is known."""

    id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """The key as it is shown, once."""
        return f"pcgkey1_{self.id}_{self.secret}"

    @property
    def prefix(self) -> str:
        """What of the key may be shown in lists."""
        return f"pcgkey1_{self.id}"

    @property
    def secret_hash(self) -> bytes:
        """What is kept of the secret."""
        return _hash(self.secret)


def new_key() -> FreshKey:
    """Return a fresh API key."""
    return FreshKey(secrets.token_hex(8), secrets.token_urlsafe(32))


async def remember(rows: Within, user: UUID, key: FreshKey, *, name: str, now: datetime) -> None:
    """Keep a fresh key, by the hash of its secret."""
    await people.add_key(rows, user, key_id=key.id, name=name, prefix=key.prefix, secret_hash=key.secret_hash, now=now)


class Doorkeeper:
    """Tells who a request comes from."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._spoken = spoken()

    async def caller(self, authorization: str | None, *, address: str) -> Caller:
        """Return who sent this Authorization header from `address`. Raises NotSignedInError."""
        try:
            return await self._caller(authorization)
        except NotSignedInError:
            if self._spoken.has_room(address, now=self._clock.monotonic()):
                log.warning("API key refused", address=address, key=_key_id(authorization))
            raise

    async def recheck(self, caller: Caller) -> None:
        """Look once more at the key of somebody who stays for long. Raises NotSignedInError."""
        found = await doors.key(self._store, caller.key_id)
        if found is None or found.revoked_at is not None:
            raise NotSignedInError("the API key was revoked")

    async def _caller(self, authorization: str | None) -> Caller:
        scheme, _, text = (authorization or "").partition(" ")
        shape = SHAPE.fullmatch(text.strip())
        if scheme.lower() != "bearer" or shape is None:
            raise NotSignedInError("send an API key: Authorization: Bearer pcgkey1_…; get one from your console")
        found = await doors.key(self._store, shape[1])
        right = hmac.compare_digest(_hash(shape[2]), found.secret_hash if found else bytes(32))
        if found is None or not right or found.revoked_at is not None:
            raise NotSignedInError(
                "the API key is unknown or revoked: use another one; whoever runs the console makes one with "
                "pcg console key create NAME"
            )
        await self._note_use(found)
        return found.caller

    async def _note_use(self, key: ApiKey) -> None:
        now = self._clock.now()
        if key.last_used_at is None or now - key.last_used_at > NOTED_EVERY:
            async with self._store.writing(Scope(key.tenant)) as rows:
                await people.key_used(rows, key.id, now=now)


def _key_id(authorization: str | None) -> str | None:
    shape = SHAPE.search(authorization or "")
    return shape[1] if shape else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
