"""This file is challenges: what the console asks whoever is not known yet to sign, and knows again without keeping it.

A challenge carries its moment, a fresh nonce and a seal over both and over what it was asked for; any replica with the
same secret opens it. A seal belongs to one purpose: a challenge of pairing is none of recovery.
"""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta

from gateway.kit.errors import GatewayError, Remedy

CHALLENGE_LIFE = timedelta(minutes=2)


class ChallengeStaleError(GatewayError):
    """The challenge is too old or was not made by this console."""

    code = "identity.challenge_stale"
    remedy = Remedy.RETRY


class Challenger:
    """Makes and opens challenges for one purpose. `secret` (32 bytes or more) is the same in every replica."""

    def __init__(self, secret: bytes, *, purpose: str) -> None:
        self._secret = secret
        self._purpose = purpose

    def challenge(self, *asked_for: str, nonce: str, now: datetime) -> str:
        """Return a challenge to who asked for this; `nonce` is 32 fresh random bytes in hexadecimal."""
        moment = str(int(now.timestamp()))
        return f"{moment}.{nonce}.{self._seal(moment, nonce, asked_for)}"

    def opened(self, challenge: str, *asked_for: str, now: datetime) -> str:
        """Return the nonce of a challenge to who asked for this. Raises ChallengeStaleError."""
        moment, nonce, seal = [*challenge.split("."), "", "", ""][:3]
        if not hmac.compare_digest(seal.encode(), self._seal(moment, nonce, asked_for).encode()):
            raise ChallengeStaleError("the challenge was not made by this console, or for another: start again")
        age = now.timestamp() - int(moment)
        if not -1 <= age <= CHALLENGE_LIFE.total_seconds():
            raise ChallengeStaleError("the challenge is too old: start again")
        return nonce

    def _seal(self, moment: str, nonce: str, asked_for: tuple[str, ...]) -> str:
        parts = (part.encode() for part in (self._purpose, moment, nonce, *asked_for))
        return hmac.new(self._secret, digest(parts), hashlib.sha256).hexdigest()


def digest(parts: Iterable[bytes]) -> bytes:
    """Return the SHA-256 over parts, each with its length before it: none can be moved into another."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(4, "big") + part)
    return whole.digest()
