"""This file is the pairing conversation, both ends, as pure functions.

::

    appliance                              console
        | -- start(token id, nonce a) -------> |
        | <-- challenge(nonce c, sealed) ----- |   stateless: the challenge carries its own proof
        | -- finish(keys, signatures) -------> |   the token's seed and the device key sign one transcript
        | <-- certificate, trust ------------- |

The transcript binds the token, both nonces, the pin of the authority the appliance saw, the device key and the
certificate request, each with its length before it, so that no part of it can be moved into another.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.contract.pairing import PairingChallenge, PairingFinish, PairingStart
from gateway.identity import keys
from gateway.identity.tokens import RegistrationToken
from gateway.kit.errors import GatewayError, Remedy

CHALLENGE_LIFE = timedelta(minutes=2)
DOMAIN = b"private-cloud-gateway pairing 1"


class ChallengeStaleError(GatewayError):
    """The challenge is too old or was not made by this console."""

    code = "pairing.challenge_stale"
    remedy = Remedy.RETRY


class ProofWrongError(GatewayError):
    """A signature of the pairing does not hold."""

    code = "pairing.proof_wrong"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class Candidate:
    """What an appliance brings to pairing: its two keys, and the request for the second."""

    device: keys.PrivateKey
    request: str


def transcript(*, token_id: str, nonces: tuple[str, str], pin: bytes, device_key: str, request: str) -> bytes:
    """Return the SHA-256 over everything the two signatures cover."""
    parts = [DOMAIN, token_id.encode(), *(nonce.encode() for nonce in nonces), pin, device_key.encode()]
    return _digest([*parts, request.encode()])


def prove(
    token: RegistrationToken, candidate: Candidate, challenge: PairingChallenge, *, nonce: str, pin: bytes
) -> PairingFinish:
    """Return the appliance's answer to a challenge; `pin` is that of the authority it has verified."""
    device_key = keys.public_pem(candidate.device.public_key())
    message = transcript(
        token_id=token.id,
        nonces=(nonce, challenge.nonce),
        pin=pin,
        device_key=device_key,
        request=candidate.request,
    )
    return PairingFinish(
        token_id=token.id,
        nonce=nonce,
        challenge=challenge.challenge,
        device_key=device_key,
        request=candidate.request,
        token_signature=base64.b64encode(token.key.sign(message)).decode(),
        device_signature=base64.b64encode(keys.sign(candidate.device, message)).decode(),
    )


class Challenger:
    """The console's half. `secret` (32 bytes or more) seals challenges; every replica must have the same."""

    def __init__(self, secret: bytes, pin: bytes) -> None:
        self._secret = secret
        self._pin = pin

    def challenge(self, start: PairingStart, *, nonce: str, now: datetime) -> PairingChallenge:
        """Answer a start; `nonce` is 32 fresh random bytes in hexadecimal."""
        moment = str(int(now.timestamp()))
        seal = self._seal(moment, start.token_id, start.nonce, nonce)
        return PairingChallenge(challenge=f"{moment}.{nonce}.{seal}", nonce=nonce, server_time=now)

    def verify(self, finish: PairingFinish, *, token_key: bytes, now: datetime) -> None:
        """Check the challenge and both signatures.

        `token_key` is the token's raw public key. Raises ChallengeStaleError, ProofWrongError or
        keys.KeyUnreadableError.
        """
        nonce = self._opened(finish, now)
        message = transcript(
            token_id=finish.token_id,
            nonces=(finish.nonce, nonce),
            pin=self._pin,
            device_key=finish.device_key,
            request=finish.request,
        )
        device = keys.read_public(finish.device_key)
        if not _token_signed(token_key, _bytes(finish.token_signature), message):
            raise ProofWrongError("the registration token's proof does not hold: make a new token and pair again")
        if not keys.signed(device, _bytes(finish.device_signature), message):
            raise ProofWrongError("the device key's proof does not hold: start pairing again")

    def _opened(self, finish: PairingFinish, now: datetime) -> str:
        moment, nonce, seal = [*finish.challenge.split("."), "", "", ""][:3]
        expected = self._seal(moment, finish.token_id, finish.nonce, nonce)
        if not hmac.compare_digest(seal.encode(), expected.encode()):
            raise ChallengeStaleError("the pairing challenge was not made by this console: start pairing again")
        age = now.timestamp() - int(moment)
        if not 0 <= age + 1 <= CHALLENGE_LIFE.total_seconds() + 1:
            raise ChallengeStaleError("the pairing challenge is too old: start pairing again")
        return nonce

    def _seal(self, *parts: str) -> str:
        return hmac.new(self._secret, _digest(part.encode() for part in parts), hashlib.sha256).hexdigest()


def _digest(parts: Iterable[bytes]) -> bytes:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(4, "big") + part)
    return whole.digest()


def _token_signed(token_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(token_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
