"""This file is join states: how a console tells the appliance that it gave a certificate last from a copy of it.

Each certificate comes with a ticket. The next one is given to who proves the last ticket, once; of two machines that
hold the same ticket, the second to ask comes too late, and is found out. The ticket is made from a secret of the
console's, so that the console keeps none: what is in its database proves nothing.
"""

import hashlib
import hmac
from uuid import UUID

from gateway.contract.identity import JoinState


def issued(secret: bytes, gateway: UUID, number: int, request: str) -> JoinState:
    """Return the join state that goes with the certificate for `request`; the same each time it is asked for."""
    parts = b"|".join([b"pcg join state 1", gateway.bytes, str(number).encode(), digest(request)])
    return JoinState(number=number, ticket=hmac.new(secret, parts, hashlib.sha256).hexdigest())


def key_of(state: JoinState) -> bytes:
    """Return the key that proofs of a join state are made and checked with: 32 bytes, all that the console keeps."""
    return hashlib.sha256(b"pcg join key 1" + bytes.fromhex(state.ticket.get_secret_value())).digest()


def prove(state: JoinState, message: bytes) -> str:
    """Return the proof over `message` that its sender holds the join state, in hexadecimal."""
    return _proof(key_of(state), message)


def proved(key: bytes, message: bytes, proof: str) -> bool:
    """Tell whether `proof` was made over `message` by who holds the join state of that key."""
    return hmac.compare_digest(_proof(key, message), proof)


def digest(request: str) -> bytes:
    """Return the SHA-256 of a certificate request, which tells one request from another."""
    return hashlib.sha256(request.encode()).digest()


def _proof(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, hashlib.sha256).hexdigest()
