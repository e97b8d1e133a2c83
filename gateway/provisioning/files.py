"""This file is what the appliance keeps for each cluster: its SSH key, the host keys it has met, what it prepared."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy
from gateway.playbooks import hostkeys
from gateway.provisioning.plans import Prepared

PREPARED: TypeAdapter[Prepared] = TypeAdapter(Prepared)


class StateUnwritableError(GatewayError):
    """The appliance cannot keep what it has to keep for a cluster."""

    code = "appliance.state_unwritable"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class ClusterFiles:
    """One cluster's private directory below the appliance's state."""

    directory: Path

    @classmethod
    def open(cls, state: Path, cluster: UUID) -> "ClusterFiles":
        """Return the files of a cluster; the directory is made, and the SSH key with it, at the first call.

        Raises StateUnwritableError.
        """
        with writing(state):
            directory = files.make_private_directory(state / "clusters" / str(cluster))
            opened = cls(directory)
            if not opened.ssh_key.exists():
                files.write_whole(opened.ssh_key, _new_ssh_key())
        return opened

    @classmethod
    def forget(cls, state: Path, cluster: UUID) -> None:
        """Remove everything kept for a cluster; does nothing when there is nothing."""
        shutil.rmtree(state / "clusters" / str(cluster), ignore_errors=True)

    @property
    def ssh_key(self) -> Path:
        """The private key the appliance signs in to the machines with (OpenSSH format, 0600)."""
        return self.directory / "ssh_key"

    @property
    def known_hosts(self) -> Path:
        """The host keys of the machines, as met the first time."""
        return self.directory / "known_hosts"

    @classmethod
    def prepared(cls, state: Path, cluster: UUID) -> Prepared:
        """Return how a cluster's machines were prepared last; what is not known counts as not prepared."""
        try:
            return PREPARED.validate_json((cls(state / "clusters" / str(cluster)).directory / "prepared").read_bytes())
        except (OSError, ValidationError):
            return Prepared()

    def keep_prepared(self, prepared: Prepared) -> None:
        """Remember how the machines were prepared. Raises StateUnwritableError."""
        with writing(self.directory):
            files.write_whole(self.directory / "prepared", PREPARED.dump_json(prepared))

    def forget_host(self, name: str) -> None:
        """Forget the host key of a machine that is to be made anew. Raises StateUnwritableError."""
        with writing(self.directory):
            hostkeys.forget(self.known_hosts, name)

    def public_key(self) -> str:
        """Return the public half of the SSH key, as in authorized_keys."""
        key = serialization.load_ssh_private_key(self.ssh_key.read_bytes(), password=None)
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return f"{public.decode()} pcg-appliance"


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Surround what writes below `directory`. Raises StateUnwritableError."""
    try:
        yield
    except OSError as fault:
        raise StateUnwritableError(f"cannot write in {directory}: {fault.strerror}; look at the disk") from fault
    except files.DirectoryNotPrivateError as fault:
        if not isinstance(fault.__cause__, OSError):  # it is there and open to others: that says enough by itself
            raise
        raise StateUnwritableError(f"cannot write in {directory}: {fault.message}; look at the disk") from fault


def _new_ssh_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
