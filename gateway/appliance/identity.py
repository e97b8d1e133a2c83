"""This file is who the appliance is, on disk: its keys, its certificate, and the console it belongs to.

::

    identity/device.key    who this appliance is, for ever
             tls.key       the key of the certificate
             tls.pem       the certificate with its chain
             trust.pem     the console's certificate authority
             paired.json   written last: with it the appliance is paired
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.contract.pairing import PairingResult
from gateway.identity import authority, keys, tls
from gateway.identity.pairing import Candidate
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy


class NotPairedError(GatewayError):
    """The appliance is not paired with a console."""

    code = "appliance.not_paired"
    remedy = Remedy.OPERATOR


class Paired(BaseModel):
    """With whom the appliance is paired, and as whom."""

    model_config = ConfigDict(frozen=True)

    gateway_id: UUID
    gateway_name: str
    console: str
    tunnel: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity directory below the appliance's state."""

    directory: Path

    @classmethod
    def open(cls, state: Path) -> "Identity":
        """Return the identity kept in `state`; the directory is made where there is none."""
        return cls(files.make_private_directory(state / "identity"))

    def candidate(self) -> Candidate:
        """Return the keys to pair with; made at the first call, the same ones ever after."""
        device = keys.keep(self.directory / "device.key")
        request = authority.certificate_request(keys.keep(self.directory / "tls.key"))
        return Candidate(device, request)

    def store(self, result: PairingResult, *, trust: str, console: str) -> Paired:
        """Keep what pairing brought, and the authority it was done with; the file that says so is written last."""
        files.write_whole(self.directory / "tls.pem", result.certificate.encode())
        files.write_whole(self.directory / "trust.pem", trust.encode())
        paired = Paired(
            gateway_id=result.gateway_id, gateway_name=result.gateway_name, console=console, tunnel=result.tunnel
        )
        files.write_whole(self.directory / "paired.json", paired.model_dump_json().encode())
        return paired

    def paired(self) -> Paired | None:
        """Return with whom the appliance is paired, or None."""
        try:
            return Paired.model_validate_json((self.directory / "paired.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as fault:
            raise NotPairedError(f"{self.directory}/paired.json is damaged: pair the appliance again") from fault

    def trust(self) -> str:
        """Return the console's authority (PEM); nothing where it cannot be read, as `tls` will say."""
        try:
            text = (self.directory / "trust.pem").read_text()
            tls.client(text)
        except (OSError, ValueError):
            return ""
        return text

    def tls(self) -> ssl.SSLContext:
        """Return the context with which the appliance calls its console. Raises NotPairedError."""
        try:
            trust = (self.directory / "trust.pem").read_text()
            return tls.client(trust, certificate=self.directory / "tls.pem", key=self.directory / "tls.key")
        except (OSError, ValueError) as fault:  # ssl.SSLError is an OSError, what is no text or empty a ValueError
            raise NotPairedError("the appliance's certificate cannot be read: pair the appliance again") from fault
