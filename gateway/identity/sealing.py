"""This file is how credentials are sealed on a user's machine so that one gateway alone can open them.

::

    user's machine                    console               gateway
        | <- sealing key, device's word - | <-- sealing key -- |   public key, signed by the device key
        | -- sealed account ------------> | -- sealed account ->|   opened there, when it is used

HPKE (RFC 9180) in its base mode, single shot. Its key schedule takes in `info`, which names everything the account is
said to be: the suite, the gateway, the account's name, kind and version. What was sealed as one opens as no other, so
nothing that carries it can swap names, move it to another gateway, or pass an old version off as a new one. The
library's single shot has no further associated data; `info` binds as firmly.

Sealing needs the public key only. Who sealed is not proved: a console can seal an account of its own making, but it
learns nothing of one that it did not make.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from pydantic import BaseModel, ConfigDict, SecretStr, field_serializer

from gateway.contract.accounts import SealedAccount, SealingKey
from gateway.identity import keys
from gateway.identity.devicekeys import DeviceKey
from gateway.kit.errors import GatewayError, Remedy

HYBRID = "MLKEM768-X25519/HKDF-SHA256/AES-256-GCM"
CLASSICAL = "DHKEM(X25519, HKDF-SHA256)/HKDF-SHA256/AES-256-GCM"
ENGINES = {
    HYBRID: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    CLASSICAL: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}
"""The suites we can seal to; a gateway takes the first that its library has."""

ACCOUNT_DOMAIN = b"private-cloud-gateway sealed account 1"
KEY_DOMAIN = b"private-cloud-gateway sealing key 1"
MLKEM_PUBLIC = 1184
MLKEM_SEED = 64
PADDED_TO = 512
"""Bytes to a multiple of which content is filled up, so that its length does not tell that of a password."""
MOST_CONTENT = 4095


class SealingKeyWrongError(GatewayError):
    """A sealing key is not the gateway's own."""

    code = "sealing.key_wrong"
    remedy = Remedy.OPERATOR


class ContentTooLargeError(GatewayError):
    """What shall be sealed is too large."""

    code = "sealing.too_large"
    remedy = Remedy.CALLER


class CannotOpenError(GatewayError):
    """What was sealed cannot be opened as what it is said to be."""

    code = "sealing.cannot_open"
    remedy = Remedy.OPERATOR


class Label(NamedTuple):
    """What an account is said to be; it opens as nothing else."""

    gateway: UUID
    name: str
    kind: str
    version: int

    def info(self, suite: str) -> bytes:
        """Return the `info` of RFC 9180, each part with its length before it."""
        parts = (suite, f"gateway:{self.gateway}", self.name, self.kind, str(self.version))
        return _joined(ACCOUNT_DOMAIN, *(part.encode() for part in parts))


def label_of(account: SealedAccount, gateway: UUID) -> Label:
    """Return what a sealed account is said to be."""
    return Label(gateway, account.name, account.kind, account.version)


class KeptKey(BaseModel):
    """A private sealing key as it is kept, base64."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    private: SecretStr
    made_at: datetime

    @field_serializer("private", when_used="json")
    def _in_clear(self, private: SecretStr) -> str:
        return private.get_secret_value()


@dataclass(frozen=True, slots=True)
class PrivateSealingKey:
    """A key that opens what was sealed to its public half."""

    suite: str
    made_at: datetime
    _key: "X25519PrivateKey | MLKEM768X25519PrivateKey" = field(repr=False)
    _raw: bytes = field(repr=False)
    public: bytes

    @classmethod
    def new(cls, now: datetime, *, suite: str | None = None) -> "PrivateSealingKey":
        """Return a fresh key of the best suite that the library has, or of that one."""
        curve = X25519PrivateKey.generate().private_bytes_raw()
        if suite != CLASSICAL:
            try:
                return cls._of(HYBRID, MLKEM768PrivateKey.generate().private_bytes_raw() + curve, now)
            except UnsupportedAlgorithm:
                if suite is not None:
                    raise
        return cls._of(CLASSICAL, curve, now)

    @classmethod
    def read(cls, kept: KeptKey) -> "PrivateSealingKey":
        """Return a key that was kept. Raises KeyUnreadableError."""
        try:
            return cls._of(kept.suite, _unbase64(kept.private.get_secret_value()), kept.made_at)
        except (ValueError, UnsupportedAlgorithm) as fault:
            raise keys.KeyUnreadableError("a sealing key cannot be read: was it made by a newer version?") from fault

    @classmethod
    def _of(cls, suite: str, raw: bytes, made_at: datetime) -> "PrivateSealingKey":
        if suite == CLASSICAL:
            curve = X25519PrivateKey.from_private_bytes(raw)
            return cls(suite, made_at, curve, raw, curve.public_key().public_bytes_raw())
        if suite != HYBRID:
            raise ValueError(f"unknown suite {suite!r}")
        lattice = MLKEM768PrivateKey.from_seed_bytes(raw[:MLKEM_SEED])
        curve = X25519PrivateKey.from_private_bytes(raw[MLKEM_SEED:])
        public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        return cls(suite, made_at, MLKEM768X25519PrivateKey(lattice, curve), raw, public)

    @property
    def id(self) -> str:
        """The SHA-256 of the public key, in hexadecimal."""
        return hashlib.sha256(self.public).hexdigest()

    def kept(self) -> KeptKey:
        """Return the key as it is kept."""
        return KeptKey(suite=self.suite, private=SecretStr(_base64(self._raw)), made_at=self.made_at)

    def vouched(self, gateway: UUID, device: DeviceKey) -> SealingKey:
        """Return the public key with the device key's word that it is the gateway's."""
        message = _key_message(gateway, self.suite, self.public, self.made_at)
        return SealingKey(
            id=self.id,
            suite=self.suite,
            public=_base64(self.public),
            made_at=self.made_at,
            device_key=device.public_pem,
            signature=_base64(device.sign(message)),
        )

    def open(self, sealed: str, label: Label) -> bytes:
        """Return what was sealed as `label`. Raises CannotOpenError."""
        try:
            padded = ENGINES[self.suite].decrypt(_unbase64(sealed), self._key, info=label.info(self.suite))
        except (InvalidTag, ValueError) as fault:
            raise CannotOpenError(
                f"the account {label.name!r} cannot be opened: it was not sealed to this gateway as version "
                f"{label.version} of that name; make it again with `pcg account create --replace`"
            ) from fault
        return padded.rstrip(b"\x00")[:-1]


def seal(key: SealingKey, label: Label, content: bytes) -> SealedAccount:
    """Return `content` sealed to a key that `check` has found to be the gateway's.

    Raises ContentTooLargeError or SealingKeyWrongError.
    """
    if len(content) > MOST_CONTENT:
        raise ContentTooLargeError(f"an account may take {MOST_CONTENT} bytes, this one takes {len(content)}")
    padded = content + b"\x80"
    padded += bytes(-len(padded) % PADDED_TO)
    sealed = ENGINES[key.suite].encrypt(padded, _public_key(key), info=label.info(key.suite))
    return SealedAccount.model_validate(
        {
            "name": label.name,
            "kind": label.kind,
            "version": label.version,
            "key_id": key.id,
            "sealed": _base64(sealed),
        }
    )


def check(key: SealingKey, gateway: UUID) -> None:
    """Return when the device key in `key` says that it is the gateway's. Raises SealingKeyWrongError.

    Whether that device key is the gateway's is for the caller to know.
    """
    try:
        public, signature = _unbase64(key.public), _unbase64(key.signature)
        device = keys.read_public(key.device_key)
    except (ValueError, keys.KeyUnreadableError) as fault:
        raise _wrong() from fault
    message = _key_message(gateway, key.suite, public, key.made_at)
    if key.id != hashlib.sha256(public).hexdigest() or not keys.signed(device, signature, message):
        raise _wrong()
    _public_key(key)


def _public_key(key: SealingKey) -> "X25519PublicKey | MLKEM768X25519PublicKey":
    try:
        raw = _unbase64(key.public)
        if key.suite == CLASSICAL:
            return X25519PublicKey.from_public_bytes(raw)
        if key.suite == HYBRID:
            lattice = MLKEM768PublicKey.from_public_bytes(raw[:MLKEM_PUBLIC])
            return MLKEM768X25519PublicKey(lattice, X25519PublicKey.from_public_bytes(raw[MLKEM_PUBLIC:]))
    except ValueError as fault:
        raise _wrong() from fault
    except UnsupportedAlgorithm as fault:
        raise SealingKeyWrongError(
            "this machine's cryptography library cannot seal to the gateway's key: it needs one with ML-KEM"
        ) from fault
    raise SealingKeyWrongError(f"the gateway's sealing key is of an unknown kind, {key.suite!r}: update this program")


def _wrong() -> SealingKeyWrongError:
    return SealingKeyWrongError("the sealing key is not vouched for by the gateway's device key: it was tampered with")


def _key_message(gateway: UUID, suite: str, public: bytes, made_at: datetime) -> bytes:
    moment = made_at.astimezone(UTC).isoformat(timespec="microseconds")
    return _joined(KEY_DOMAIN, gateway.bytes, suite.encode(), public, moment.encode())


def _joined(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _unbase64(text: str) -> bytes:
    """Return what `text` stands for; ValueError for any other spelling than the one that _base64 writes."""
    content = base64.b64decode(text, validate=True)
    if _base64(content) != text:
        raise ValueError("not canonical")
    return content
