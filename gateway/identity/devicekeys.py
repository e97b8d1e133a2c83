"""This file is the device key, wherever it lives: in a file, or in the machine's TPM, out of which it never comes.

::

    device.key    a P-256 key in the clear, 0600: whoever reads it is the appliance
    device.tpm    the same as a blob that only this machine's TPM can open: of no use elsewhere

Which of the two is decided once, when the key is made; from then on the file that is there says it.
"""

from pathlib import Path
from typing import Protocol

import structlog

from gateway.identity import keys, tpm
from gateway.kit import files

AUTO = "auto"
NONE = "file"
FILE = "device.key"
WRAPPED = "device.tpm"

log = structlog.get_logger(__name__)


class DeviceKey(Protocol):
    """What an appliance proves with that it is the one it was: P-256, for ever."""

    @property
    def public_pem(self) -> str:
        """The public key, SubjectPublicKeyInfo in PEM."""

    @property
    def in_tpm(self) -> bool:
        """Whether a TPM holds it."""

    def sign(self, message: bytes) -> bytes:
        """Return the ECDSA signature with SHA-256 over `message`, in DER. May take a second; raises GatewayError."""


class FileDeviceKey:
    """A device key that this process holds."""

    in_tpm = False

    def __init__(self, key: keys.PrivateKey) -> None:
        self._key = key

    @property
    def public_pem(self) -> str:
        """The public key, SubjectPublicKeyInfo in PEM."""
        return keys.public_pem(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the ECDSA signature with SHA-256 over `message`, in DER."""
        return keys.sign(self._key, message)


class TpmDeviceKey:
    """A device key that only a TPM can use; `tcti` says how the TPM is reached."""

    in_tpm = True

    def __init__(self, wrapped: tpm.Wrapped, *, tcti: str) -> None:
        self._wrapped = wrapped
        self._tcti = tcti

    @property
    def public_pem(self) -> str:
        """The public key, SubjectPublicKeyInfo in PEM."""
        return self._wrapped.public_pem

    def sign(self, message: bytes) -> bytes:
        """Return the TPM's ECDSA signature with SHA-256 over `message`, in DER.

        Raises TpmUnavailableError, or TpmKeyLostError when it is another TPM than the one that made the key.
        """
        return tpm.sign(self._tcti, self._wrapped, message)


def new() -> FileDeviceKey:
    """Return a fresh key that is kept nowhere yet."""
    return FileDeviceKey(keys.new_key())


def keep(directory: Path, *, where: str = AUTO) -> DeviceKey:
    """Return the device key in `directory`; where there is none, make one first.

    `where` is AUTO (the TPM if the machine has one that answers), NONE (a file), or the TCTI of a TPM that must be
    used, such as device:/dev/tpmrm0. Raises KeyUnreadableError, FileNotPrivateError or
    TpmUnavailableError.
    """
    if (directory / FILE).exists():
        return _in_file(directory / FILE)
    if (directory / WRAPPED).exists():
        return TpmDeviceKey(_read(directory / WRAPPED), tcti=_tcti(where))
    if where == NONE or (where == AUTO and not tpm.there()):
        return FileDeviceKey(keys.keep(directory / FILE))
    try:
        return _made(directory, tcti=_tcti(where))
    except tpm.TpmUnavailableError as fault:
        if where != AUTO:
            raise
        log.warning("the device key is a file: the TPM cannot be used", reason=fault.message)
        return FileDeviceKey(keys.keep(directory / FILE))


def _in_file(path: Path) -> FileDeviceKey:
    try:
        files.read_private(path)
    except OSError as fault:
        raise keys.KeyUnreadableError(f"the device key {path} cannot be read", path=str(path)) from fault
    return FileDeviceKey(keys.read(path))


def _made(directory: Path, *, tcti: str) -> TpmDeviceKey:
    wrapped = tpm.make(tcti)
    files.write_whole(directory / WRAPPED, wrapped.model_dump_json().encode())
    return TpmDeviceKey(wrapped, tcti=tcti)


def _read(path: Path) -> tpm.Wrapped:
    try:
        return tpm.Wrapped.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise keys.KeyUnreadableError(f"the device key {path} cannot be read", path=str(path)) from fault


def _tcti(where: str) -> str:
    return tpm.DEVICE if where in {AUTO, NONE} else where
