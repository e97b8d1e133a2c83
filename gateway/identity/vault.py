"""This file is the directory of a console's authority: what is written there, in which order, and how it is read back.

::

    authority.json          what is what, written last: what it does not name is rubbish of a step that was cut
    root-<id>.{pem,key}     the current root, and the next or the former one; of the former one no key
    intermediate-<id>.…     the one that signs; of former ones the certificate only
    authority.pem           the current root once more, for people and programs that look

Whoever changes anything holds the lock, writes new files, then the state, then removes what is of no use any more. So a
cut between any two writes leaves the authority as it was before or as it is after.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from pydantic import ValidationError

from gateway.identity import certificates, keys
from gateway.identity.certificates import Signer
from gateway.identity.rotation import Phase, State
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

STATE = "authority.json"
SHOWN = "authority.pem"
Seen = tuple[int, int, int]


class AuthorityDamagedError(GatewayError):
    """The console's certificate authority is not whole."""

    code = "identity.authority_damaged"
    remedy = Remedy.OPERATOR


class RootKeyAwayError(GatewayError):
    """The key of a root is needed and is not in its place."""

    code = "authority.root_key_away"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Chain:
    """Everything that the state names, read: `roots` and `intermediates` in the state's order, `signer` the last."""

    state: State
    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    signer: Signer


@dataclass(frozen=True, slots=True)
class Vault:
    """The directory. Every writing method is for who holds it."""

    directory: Path

    @property
    def is_empty(self) -> bool:
        """Tell whether no authority was ever made here. Raises AuthorityDamagedError when its state is lost."""
        if self._state.exists():
            return False
        if (self.directory / SHOWN).exists():
            raise AuthorityDamagedError(f"{self.directory} has lost {STATE}: restore the directory from a copy")
        return True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory against other processes; theirs is a matter of milliseconds, so this waits."""
        with os.fdopen(os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, files.PRIVATE_FILE), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def seen(self) -> Seen:
        """Return what tells one state file from another."""
        try:
            found = self._state.stat()
        except OSError as fault:
            raise AuthorityDamagedError(f"{self._state} cannot be read: restore the directory from a copy") from fault
        return found.st_mtime_ns, found.st_ino, found.st_size

    def read(self) -> Chain:
        """Read everything. Raises AuthorityDamagedError when it is not whole."""
        try:
            state = State.model_validate_json(self._state.read_bytes())
        except (OSError, ValidationError) as fault:
            raise self._damaged(self._state) from fault
        roots = tuple(self._certificate(name) for name in state.roots)
        intermediates = tuple(self._certificate(name) for name in state.intermediates)
        if not is_below(intermediates[-1], roots[0]):
            raise self._damaged(self._pem(state.intermediate))
        return Chain(state, roots, intermediates, self.signer(state.intermediate))

    def has_key(self, name: str) -> bool:
        """Tell whether the key of a certificate is in its place."""
        return self._key(name).exists()

    def root_signer(self, name: str) -> Signer:
        """Return a root to sign with. Raises RootKeyAwayError."""
        if not self.has_key(name):
            raise RootKeyAwayError(
                f"the root's key {self._key(name)} is not in its place: put it back for this step",
                path=str(self._key(name)),
            )
        return self.signer(name)

    def signer(self, name: str) -> Signer:
        """Return a certificate with its key. Raises AuthorityDamagedError when they are not each other's."""
        certificate = self._certificate(name)
        try:
            key = keys.read(self._key(name))
        except keys.KeyUnreadableError as fault:
            raise self._damaged(self._key(name)) from fault
        if certificate.public_key() != key.public_key():
            raise self._damaged(self._key(name))
        return Signer(certificate, key)

    def make_root(self, now: datetime) -> tuple[str, Signer]:
        """Write a new root."""
        key = keys.new_key()
        return self._keep("root", Signer(certificates.root(key, now=now), key))

    def make_intermediate(self, root: Signer, now: datetime) -> tuple[str, Signer]:
        """Write a new intermediate below a root."""
        key = keys.new_key()
        return self._keep("intermediate", Signer(certificates.intermediate(key.public_key(), root, now=now), key))

    def write(self, state: State) -> None:
        """Make a state the present one: from here on what it names counts."""
        files.write_whole(self._state, state.model_dump_json(indent=2).encode())

    def show(self, root: x509.Certificate) -> None:
        """Write the current root where people look for it, unless it is there."""
        path, text = self.directory / SHOWN, certificates.pem(root).encode()
        if not path.exists() or path.read_bytes() != text:
            files.write_whole(path, text, mode=0o644)

    def sweep(self, state: State) -> None:
        """Remove what the state does not name, and keys that sign nothing any more."""
        former = state.other if state.phase is Phase.SETTLING else None
        kept = {f"{name}.pem" for name in (*state.roots, *state.intermediates)}
        kept |= {f"{name}.key" for name in (*state.roots, state.intermediate) if name != former}
        for path in self.directory.iterdir():
            if path.name.startswith(("root-", "intermediate-")) and path.name not in kept:
                path.unlink()
        files.flush_directory(self.directory)

    @property
    def _state(self) -> Path:
        return self.directory / STATE

    def _keep(self, kind: str, signer: Signer) -> tuple[str, Signer]:
        name = f"{kind}-{certificates.spki_pin(signer.certificate).hex()[:16]}"
        keys.write(self._key(name), signer.key)
        files.write_whole(self._pem(name), certificates.pem(signer.certificate).encode())
        return name, signer

    def _pem(self, name: str) -> Path:
        return self.directory / f"{name}.pem"

    def _key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def _certificate(self, name: str) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self._pem(name).read_bytes())
        except (OSError, ValueError) as fault:
            raise self._damaged(self._pem(name)) from fault

    def _damaged(self, path: Path) -> AuthorityDamagedError:
        return AuthorityDamagedError(
            f"{path} is lost, damaged or not of one piece with the others: restore {self.directory} from a copy",
            path=str(path),
        )


def is_below(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether a certificate was signed by another."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
