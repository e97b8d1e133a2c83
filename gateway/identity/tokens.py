"""This file is the registration token: one string that holds all that pairing needs.

::

    pcgreg1_ <base64url of the payload> _ <base32 of its CRC-32>

    payload   4 bytes   expiry, minutes since 1970 (big-endian)
             10 bytes   token id
             32 bytes   Ed25519 seed; the console keeps only the public key
              1 byte    flags: 1 = pairs a gateway anew that is there already; the others are not given out
              1 byte    number of pins, 1 or 2: the current authority, and the next while one is brought in
          n x 32 bytes  SHA-256 of the SubjectPublicKeyInfo of the console's certificate authority
             the rest   URL of the console, UTF-8
"""

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.kit.errors import GatewayError, Remedy

PREFIX = "pcgreg1_"
HEAD = struct.Struct(">I10s32sBB")
PIN_BYTES = 32
MOST_PINS = 2
REPAIRS = 1


class TokenMangledError(GatewayError):
    """The string is not a whole registration token."""

    code = "token.mangled"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """What a registration token says. `seed` is the only secret; it is left out of repr."""

    url: str
    token_id: bytes
    seed: bytes = field(repr=False)
    pins: tuple[bytes, ...]
    expires_at: datetime
    repairs: bool = False
    """Whether it pairs a gateway anew that is there already, in its place."""

    @property
    def id(self) -> str:
        """The token id in hexadecimal, as the console lists it."""
        return self.token_id.hex()

    @property
    def key(self) -> Ed25519PrivateKey:
        """The signing key made from the seed."""
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes of the public key; all that the console keeps."""
        return self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def text(self) -> str:
        """Return the token as the one string to be copied."""
        minutes = int(self.expires_at.timestamp()) // 60
        flags = REPAIRS if self.repairs else 0
        head = HEAD.pack(minutes, self.token_id, self.seed, flags, len(self.pins))
        payload = head + b"".join(self.pins) + self.url.encode()
        return f"{PREFIX}{_base64(payload)}_{_checksum(payload)}"


def parse(text: str) -> RegistrationToken:
    """Read a token; white space around it and line breaks within are forgiven. Raises TokenMangledError."""
    word = "".join(text.split())
    if not word.startswith(PREFIX):
        raise TokenMangledError(f"this is not a registration token: one begins with {PREFIX}; copy it again, whole")
    body, _, checksum = word.removeprefix(PREFIX).rpartition("_")
    try:
        payload = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        if _checksum(payload) != checksum or _base64(payload) != body:  # base64 has bits to spare in its last letter
            raise ValueError("checksum")
        return _unpack(payload)
    except (ValueError, binascii.Error, struct.error, OverflowError) as fault:
        raise TokenMangledError("the registration token is damaged or cut short: copy it again, whole") from fault


def _unpack(payload: bytes) -> RegistrationToken:
    minutes, token_id, seed, flags, count = HEAD.unpack_from(payload)
    rest = payload[HEAD.size :]
    if flags & ~REPAIRS:
        raise ValueError("flags")
    if not 1 <= count <= MOST_PINS or len(rest) <= count * PIN_BYTES:
        raise ValueError("pins")
    pins = tuple(rest[index * PIN_BYTES : (index + 1) * PIN_BYTES] for index in range(count))
    url = rest[count * PIN_BYTES :].decode()
    if not url.startswith("https://"):
        raise ValueError("url")
    expires_at = datetime.fromtimestamp(minutes * 60, UTC)
    return RegistrationToken(url, token_id, seed, pins, expires_at, repairs=bool(flags & REPAIRS))


def _base64(payload: bytes) -> str:
    return base64.urlsafe_b64encode(payload).decode().rstrip("=")


def _checksum(payload: bytes) -> str:
    return base64.b32encode(zlib.crc32(payload).to_bytes(4, "big")).decode().rstrip("=").lower()
