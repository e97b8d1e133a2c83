"""This file is the grant: the console's signed word that one user may open one stream to one target, once and now.

::

    <base64url of the payload> . <base64url of the Ed25519 signature>

    payload     canonical JSON of a Grant
    signature   over PURPOSE and the payload's bytes

There is one algorithm and no header that could name another. The appliance holds the public key, heard on the command
channel, and judges for itself: a console, or a replica of one, that is fooled about whose stream it opens gets no
further than this. A grant is bound to a gateway and to one data session of it, so it is worth nothing elsewhere.
"""

import base64
import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn, Self
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, ConfigDict, Field, ValidationError, model_validator

from gateway.contract.shapes import Name, ObjectName, Wish
from gateway.contract.streams import GRANT_LIMIT
from gateway.identity.keys import KeyUnreadableError
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy
from gateway.kit.strictjson import NotStrictJsonError, parse_strict_json, write_canonical_json

PURPOSE = b"pcg stream grant 1\x00"
LONGEST = timedelta(seconds=60)
"""How long a grant may be good for."""
NO_DOUBT = timedelta(0)
MOST_DOUBT = timedelta(seconds=60)
"""How far the appliance's idea of the console's time may be off before it is taken for that far and no further."""
REMEMBERED = 3 * MOST_DOUBT
"""How long after its end a grant is remembered: the clock may be judged late when it is noted, early when it is used
again, and both judgements may be off by MOST_DOUBT."""
MOST_REMEMBERED = 100_000
"""Used grants remembered at once; beyond it new ones are refused rather than old ones forgotten."""
PUBLIC_BYTES = 32


class GrantRefusedError(GatewayError):
    """The grant that came with a stream is not good for it.

    `untimely` says that it would be at another time: unless it is old, the console's clock was set since it was heard.
    """

    code = "stream.grant_refused"
    remedy = Remedy.OPERATOR

    def __init__(self, message: str, *, untimely: bool = False) -> None:
        super().__init__(message)
        self.untimely = untimely


class Grant(Wish):
    """Who may open a stream to what, through which session, and when."""

    model_config = ConfigDict(strict=True)

    id: UUID = Field(description="UUIDv7; a grant is used once")
    user: ObjectName
    tenant: ObjectName
    gateway: UUID
    target: Name
    session: str = Field(min_length=1, max_length=64, description="id of the data session the stream is opened in")
    not_before: AwareDatetime
    expires: AwareDatetime

    @model_validator(mode="after")
    def _is_short(self) -> Self:
        if not timedelta(0) < self.expires - self.not_before <= LONGEST:
            raise ValueError(f"a grant is good for at most {LONGEST.seconds} seconds")
        return self


@dataclass(frozen=True, slots=True)
class GrantKey:
    """The console's key; only it makes grants."""

    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def new(cls) -> "GrantKey":
        """Return a fresh key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def keep(cls, path: Path) -> "GrantKey":
        """Return the key in `path`, PKCS #8 and 0600; where there is none, write a fresh one there first.

        Raises KeyUnreadableError.
        """
        if not path.exists():
            files.write_whole(path, cls.new().pem())
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as fault:
            raise KeyUnreadableError(f"the private key {path} cannot be read", path=str(path)) from fault
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnreadableError(f"the private key {path} is not an Ed25519 key", path=str(path))
        return cls(key)

    def pem(self) -> bytes:
        """Return the private key, PKCS #8, not encrypted."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public(self) -> bytes:
        """The 32 raw bytes of the public key."""
        return self._private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    @property
    def public_text(self) -> str:
        """The public key as it stands in a welcome: base64url."""
        return _base64(self.public)

    def sign(self, grant: Grant) -> str:
        """Return the grant as the text that goes into a preamble."""
        payload = write_canonical_json(grant.model_dump(mode="json"))
        return f"{_base64(payload)}.{_base64(self._private.sign(PURPOSE + payload))}"


def read_public(text: str) -> bytes:
    """Return the public key that a welcome brought. Raises KeyUnreadableError."""
    try:
        return _unbase64(text, PUBLIC_BYTES)
    except ValueError as fault:
        raise KeyUnreadableError("the console's grant key is no Ed25519 key in base64url") from fault


class Grants:
    """What the appliance knows of grants: the console's public key, and which were used."""

    def __init__(self, public_key: bytes) -> None:
        self._public = Ed25519PublicKey.from_public_bytes(public_key)
        self._used: set[UUID] = set()
        self._ends: list[tuple[datetime, UUID]] = []

    def check(
        self, text: str, *, gateway: UUID, target: str, session: str, now: datetime, doubt: timedelta = NO_DOUBT
    ) -> Grant:
        """Return the grant in `text` and remember that it is used. Raises GrantRefusedError.

        `now` is the console's time, known to within `doubt`.
        """
        doubt = min(doubt, MOST_DOUBT)
        grant = self._signed(text)
        if grant.gateway != gateway:
            _refuse("it is for another gateway")
        if grant.session != session:
            _refuse("it is for another session")
        if grant.target != target:
            _refuse("it is for another target")
        if now + doubt < grant.not_before:
            _refuse_now("it is not good yet")
        if now - doubt >= grant.expires:
            _refuse_now("it has expired")
        self._use(grant, now=now)
        return grant

    def _signed(self, text: str) -> Grant:
        if len(text) > GRANT_LIMIT:
            _refuse("it is too long")
        try:
            payload, signature = (_unbase64(part) for part in text.split("."))
            self._public.verify(signature, PURPOSE + payload)
            parse_strict_json(payload, limit=GRANT_LIMIT, depth=1)
            return Grant.model_validate_json(payload)
        except (ValueError, InvalidSignature, NotStrictJsonError, ValidationError):
            raise GrantRefusedError("the grant is refused: the console's key did not sign it as it stands") from None

    def _use(self, grant: Grant, *, now: datetime) -> None:
        while self._ends and self._ends[0][0] < now:
            self._used.discard(heapq.heappop(self._ends)[1])
        if grant.id in self._used:
            _refuse("it was used before")
        if len(self._used) >= MOST_REMEMBERED:
            _refuse("too many were used within a few minutes")
        self._used.add(grant.id)
        heapq.heappush(self._ends, (grant.expires + REMEMBERED, grant.id))


def _refuse(why: str) -> NoReturn:
    raise GrantRefusedError(f"the grant is refused: {why}")


def _refuse_now(why: str) -> NoReturn:
    raise GrantRefusedError(
        f"the grant is refused: {why} by the console's time, which alone counts; if the console's clock was set, the "
        "appliance asks for its time again after two such refusals: try again in a minute",
        untimely=True,
    )


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _unbase64(text: str, size: int | None = None) -> bytes:
    """Return what `text` stands for; ValueError for any other spelling than the one that _base64 writes."""
    content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _base64(content) != text or (size is not None and len(content) != size):
        raise ValueError("not canonical")
    return content
