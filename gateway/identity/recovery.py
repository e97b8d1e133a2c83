"""This file is the recovery conversation, both ends, as pure functions.

::

    appliance                              console
        | -- start(gateway, nonce a) --------> |
        | <-- challenge(nonce c, sealed) ----- |   nothing is kept: see identity.challenge
        | -- finish(signature, join proof) --> |   the device key signs, and the join key proves, one transcript
        | <-- certificate, join state -------- |

The transcript binds the gateway, both nonces, the pin of the authority and the TLS key that the appliance saw, the
certificate request, the join state's number, the boot and what the machine says of itself, each with its length before
it. No date is in it and none is looked at by the appliance: it may be 1970 there.
"""

import base64
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from gateway.contract.identity import Hardware, JoinState, RecoveryChallenge, RecoveryFinish
from gateway.identity import joinstate, keys
from gateway.identity.challenge import digest
from gateway.identity.devicekeys import DeviceKey
from gateway.kit.errors import GatewayError, Remedy

DOMAIN = b"private-cloud-gateway recovery 1"


class RecoveryProofWrongError(GatewayError):
    """The device key's signature does not hold, or was made for another console."""

    code = "recovery.proof_wrong"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Seen:
    """Whom the appliance has spoken with: the pin of the authority (32 bytes), the SHA-256 of the TLS key (hex)."""

    pin: bytes
    key: str


@dataclass(frozen=True, slots=True)
class Lost:
    """What an appliance still has that needs to come back."""

    gateway: UUID
    device: DeviceKey
    join: JoinState
    request: str
    boot_id: UUID
    hardware: Hardware


def transcript(finish: RecoveryFinish, *, nonce: str, pin: bytes) -> bytes:
    """Return the SHA-256 over everything that signature and proof cover; `nonce` is the console's."""
    who = [finish.gateway_id.bytes, finish.nonce.encode(), nonce.encode(), pin, bytes.fromhex(finish.server_key)]
    uuid = finish.hardware.system_uuid
    machine = [uuid.bytes if uuid else b"", b"tpm" if finish.hardware.device_key_in_tpm else b"file"]
    return digest(
        [DOMAIN, *who, finish.request.encode(), str(finish.join_number).encode(), finish.boot_id.bytes, *machine]
    )


def prove(lost: Lost, challenge: RecoveryChallenge, *, nonce: str, seen: Seen) -> RecoveryFinish:
    """Return the appliance's answer to a challenge; `seen` is whom it has verified and speaks with.

    It takes as long as the device key takes to sign: a TPM's, a second.
    """
    bare = RecoveryFinish(
        gateway_id=lost.gateway,
        nonce=nonce,
        challenge=challenge.challenge,
        server_key=seen.key,
        request=lost.request,
        boot_id=lost.boot_id,
        hardware=lost.hardware,
        join_number=lost.join.number,
        join_proof="0" * 64,
        device_signature="=",
    )
    message = transcript(bare, nonce=challenge.nonce, pin=seen.pin)
    signature = base64.b64encode(lost.device.sign(message)).decode()
    return bare.model_copy(update={"join_proof": joinstate.prove(lost.join, message), "device_signature": signature})


def verify(finish: RecoveryFinish, *, nonce: str, device_key: str, consoles: Collection[Seen]) -> bytes:
    """Check the device key's signature over an answer to the challenge with `nonce`; return the message it covers.

    `consoles` is who this console is: once for each authority that vouches for it. The join proof is not looked at:
    it is a proof over the same message. Raises RecoveryProofWrongError.
    """
    if finish.server_key not in {one.key for one in consoles}:
        raise RecoveryProofWrongError("the appliance has spoken with another TLS key than this console's")
    key, signature = keys.read_public(device_key), _bytes(finish.device_signature)
    for console in consoles:
        message = transcript(finish, nonce=nonce, pin=console.pin)
        if keys.signed(key, signature, message):
            return message
    raise RecoveryProofWrongError("the device key's proof does not hold: it is not the key that was paired")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
