"""This file is the pairing conversation, both ends, as pure functions.

::

    appliance                              console
        | -- start(token id, nonce a) -------> |
        | <-- challenge(nonce c, sealed) ----- |   nothing is kept: see identity.challenge
        | -- finish(keys, signatures) -------> |   the token's seed and the device key sign one transcript
        | <-- certificate, trust ------------- |

The transcript binds the console's URL, the token, both nonces, the pin of the authority and the TLS key that the
appliance saw, the device key, the certificate request and what the machine says of itself, each with its length before
it, so that no part of it can be moved into another.
"""

import base64
from collections.abc import Collection
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.contract.identity import Hardware
from gateway.contract.pairing import PairingChallenge, PairingFinish
from gateway.identity import keys
from gateway.identity.challenge import digest
from gateway.identity.devicekeys import DeviceKey
from gateway.identity.tokens import RegistrationToken
from gateway.kit.errors import GatewayError, Remedy

DOMAIN = b"private-cloud-gateway pairing 2"


class ProofWrongError(GatewayError):
    """A signature of the pairing does not hold."""

    code = "pairing.proof_wrong"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class Candidate:
    """What an appliance brings to pairing: its device key, the request for its TLS key, and what its machine says."""

    device: DeviceKey
    request: str
    hardware: Hardware = field(default_factory=Hardware)


@dataclass(frozen=True, slots=True)
class Server:
    """Which console it is: its URL, the pin of its authority (32 bytes), and the SHA-256 of its TLS key (hex)."""

    url: str
    pin: bytes
    key: str


def transcript(
    server: Server, *, token_id: str, nonces: tuple[str, str], device_key: str, request: str, hardware: Hardware
) -> bytes:
    """Return the SHA-256 over everything the two signatures cover."""
    who = [server.url.encode(), token_id.encode(), *(nonce.encode() for nonce in nonces)]
    seen = [server.pin, bytes.fromhex(server.key)]
    return digest([DOMAIN, *who, *seen, device_key.encode(), request.encode(), *_said(hardware)])


def prove(
    token: RegistrationToken, candidate: Candidate, challenge: PairingChallenge, *, nonce: str, server: Server
) -> PairingFinish:
    """Return the appliance's answer to a challenge; `server` is whom it has verified and spoken with.

    It takes as long as the device key takes to sign: a TPM's, a second.
    """
    device_key = candidate.device.public_pem
    message = transcript(
        server,
        token_id=token.id,
        nonces=(nonce, challenge.nonce),
        device_key=device_key,
        request=candidate.request,
        hardware=candidate.hardware,
    )
    return PairingFinish(
        token_id=token.id,
        nonce=nonce,
        challenge=challenge.challenge,
        device_key=device_key,
        request=candidate.request,
        server_key=server.key,
        hardware=candidate.hardware,
        token_signature=base64.b64encode(token.key.sign(message)).decode(),
        device_signature=base64.b64encode(candidate.device.sign(message)).decode(),
    )


def verify(finish: PairingFinish, *, nonce: str, token_key: bytes, servers: Collection[Server]) -> None:
    """Check both signatures of an answer to the challenge with `nonce`.

    `token_key` is the token's raw public key; `servers` is who this console is: once for each authority that vouches
    for it. Raises ProofWrongError or keys.KeyUnreadableError.
    """
    device = keys.read_public(finish.device_key)
    if finish.server_key not in {one.key for one in servers}:
        raise ProofWrongError("the appliance has spoken with another TLS key than this console's: pair again")
    messages = [_covered(finish, nonce, one) for one in servers]
    held = [one for one in messages if _token_signed(token_key, _bytes(finish.token_signature), one)]
    if not held:
        raise ProofWrongError("the registration token's proof does not hold: make a new token and pair again")
    if not keys.signed(device, _bytes(finish.device_signature), held[0]):
        raise ProofWrongError("the device key's proof does not hold: start pairing again")


def _covered(finish: PairingFinish, nonce: str, server: Server) -> bytes:
    return transcript(
        server,
        token_id=finish.token_id,
        nonces=(finish.nonce, nonce),
        device_key=finish.device_key,
        request=finish.request,
        hardware=finish.hardware,
    )


def _said(hardware: Hardware) -> list[bytes]:
    uuid = str(hardware.system_uuid).encode() if hardware.system_uuid else b""
    return [uuid, b"tpm" if hardware.device_key_in_tpm else b"file"]


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
