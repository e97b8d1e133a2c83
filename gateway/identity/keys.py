"""This file is how private keys are made, kept and read: P-256, PKCS #8, mode 0600."""

import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


class KeyUnreadableError(GatewayError):
    """A key is not a P-256 key in PEM."""

    code = "identity.key_unreadable"
    remedy = Remedy.OPERATOR


def new_key() -> PrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def keep(path: Path) -> PrivateKey:
    """Return the key in `path`; where there is none, write a fresh one there first."""
    if not path.exists():
        write(path, new_key())
    return read(path)


def write(path: Path, key: PrivateKey) -> None:
    """Write a private key, 0600, whole or not at all."""
    files.write_whole(path, private_pem(key))


def read(path: Path) -> PrivateKey:
    """Read a private key. Raises KeyUnreadableError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as fault:
        raise KeyUnreadableError(f"the private key {path} cannot be read", path=str(path)) from fault
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyUnreadableError(f"the private key {path} is not a P-256 key", path=str(path))
    return key


def private_pem(key: PrivateKey) -> bytes:
    """Return a private key as PKCS #8 PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: PublicKey) -> str:
    """Return a public key as SubjectPublicKeyInfo PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def spki_digest(key: PublicKey) -> bytes:
    """Return the SHA-256 of a key's SubjectPublicKeyInfo: what a pin is, and what fingerprints are made of."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def read_public(pem: str) -> PublicKey:
    """Parse a P-256 public key in PEM. Raises KeyUnreadableError."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except ValueError as fault:
        raise KeyUnreadableError("the device key is not a public key in PEM") from fault
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyUnreadableError("the device key is not a P-256 key")
    return key


def sign(key: PrivateKey, message: bytes) -> bytes:
    """Return the ECDSA signature with SHA-256 over `message`, in DER."""
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def signed(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` is `key`'s over `message`."""
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
