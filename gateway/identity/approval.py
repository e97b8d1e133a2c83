"""This file is the word of the site's own keys that a command may be carried out: made and checked; no clock, no disk.

::

    signature   Ed25519 over PURPOSE and the canonical JSON of all that the approval says but the signature

It names one command by its id and by all that it says, one gateway, and when it is over. So it is worth nothing for
another command, for the same one changed, at another appliance, or later.
"""

import base64
import hashlib
from datetime import datetime
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.contract.commands import Command
from gateway.contract.policy import Approval
from gateway.identity.keys import KeyUnreadableError
from gateway.kit.strictjson import write_canonical_json

PURPOSE = b"pcg command approval 1\x00"
UNSIGNED = "A" * 86


def digest(command: Command) -> str:
    """Return the SHA-256 of all that a command says."""
    return hashlib.sha256(write_canonical_json(command.model_dump(mode="json"))).hexdigest()


def sign(key: Ed25519PrivateKey, command: Command, *, gateway: UUID, expires: datetime) -> Approval:
    """Return the key's word that a command may be carried out at a gateway until then."""
    unsigned = Approval(
        key=public_text(key),
        gateway=str(gateway),
        command_id=str(command.id),
        command=digest(command),
        expires=expires,
        signature=UNSIGNED,
    )
    return unsigned.model_copy(update={"signature": _text(key.sign(_signable(unsigned)))})


def is_good(approval: Approval, command: Command, *, gateway: UUID, now: datetime) -> bool:
    """Tell whether an approval is for that command at that gateway, not over, and signed by the key it names."""
    if (approval.gateway, approval.command_id) != (str(gateway), str(command.id)):
        return False
    if approval.command != digest(command) or not now < approval.expires:
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(_bytes(approval.key))
        key.verify(_bytes(approval.signature), _signable(approval))
    except (InvalidSignature, ValueError):
        return False
    return True


def read_key(content: bytes, *, name: str) -> Ed25519PrivateKey:
    """Return the private key that a file holds, PKCS #8 or OpenSSH's own. Raises KeyUnreadableError."""
    for read in (serialization.load_pem_private_key, serialization.load_ssh_private_key):
        try:
            found = read(content, password=None)
        except (ValueError, TypeError):
            continue
        if isinstance(found, Ed25519PrivateKey):
            return found
    raise KeyUnreadableError(f"{name} is no Ed25519 private key that can be read without a passphrase", path=name)


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """Return a private key as PKCS #8 PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_text(key: Ed25519PrivateKey) -> str:
    """Return a key's public half as policies name it."""
    return _text(key.public_key().public_bytes_raw())


def _signable(approval: Approval) -> bytes:
    return PURPOSE + write_canonical_json(approval.model_dump(mode="json", exclude={"signature"}))


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
