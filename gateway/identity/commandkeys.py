"""This file is the keys that a console signs its commands with, on its disk.

::

    command-keys/1.key                  the first: appliances are told its public half when they pair
                 2.key  2.handing.json  the next, and the word of the one before that it follows; in this order
                 3.key                  cut before its handing was written: never used, and overwritten

The newest key that was handed on to signs. Of the others only what they have said is kept: their private halves go.
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from gateway.contract.signing import MOST_HANDINGS, CommandKeys, HandingOn
from gateway.identity import envelope
from gateway.identity.keys import KeyUnreadableError
from gateway.kit import files


@dataclass(frozen=True, slots=True)
class Ring:
    """The key that signs, and all handings on that have led to it."""

    key: Ed25519PrivateKey
    handings: tuple[HandingOn, ...] = ()

    @property
    def public(self) -> str:
        """The public half of the key that signs."""
        return envelope.public_text(self.key)

    @property
    def told(self) -> CommandKeys:
        """What appliances are told; of very many handings the newest."""
        return CommandKeys(key=self.public, handings=list(self.handings[-MOST_HANDINGS:]))


def keep(directory: Path) -> Ring:
    """Return the keys in `directory`; where there are none, make the first. Raises KeyUnreadableError."""
    files.make_private_directory(directory)
    if not _handed(directory) and not _key(directory, 1).exists():
        _write(directory, 1, Ed25519PrivateKey.generate())
    return read(directory)


def read(directory: Path) -> Ring:
    """Return the keys in `directory`. Raises KeyUnreadableError."""
    handings = _handed(directory)
    key = _read(_key(directory, len(handings) + 1))
    ring = Ring(key, tuple(handings))
    if handings and handings[-1].key != ring.public:
        raise KeyUnreadableError(f"the command keys in {directory} do not belong together", path=str(directory))
    return ring


def rotate(directory: Path) -> Ring:
    """Have a fresh key follow the present one, and return the keys then. Raises KeyUnreadableError."""
    before = keep(directory)
    number, after = len(before.handings) + 2, Ed25519PrivateKey.generate()
    _write(directory, number, after)
    step = envelope.hand_on(before.key, after)
    files.write_whole(_handing(directory, number), step.model_dump_json().encode())
    for old in range(1, number):
        _key(directory, old).unlink(missing_ok=True)
    return read(directory)


def _handed(directory: Path) -> list[HandingOn]:
    found: list[HandingOn] = []
    while (path := _handing(directory, len(found) + 2)).exists():
        try:
            found.append(HandingOn.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError) as fault:
            raise KeyUnreadableError(f"the handing on {path} cannot be read", path=str(path)) from fault
    return found


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as fault:
        raise KeyUnreadableError(f"the private key {path} cannot be read", path=str(path)) from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnreadableError(f"the private key {path} is not an Ed25519 key", path=str(path))
    return key


def _write(directory: Path, number: int, key: Ed25519PrivateKey) -> None:
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.write_whole(_key(directory, number), content)


def _key(directory: Path, number: int) -> Path:
    return directory / f"{number}.key"


def _handing(directory: Path, number: int) -> Path:
    return directory / f"{number}.handing.json"
