"""This file is the certificates of both ends of an interoperability test: one authority, a console, an appliance."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from gateway.identity import authority, keys, tls
from gateway.identity.authority import Authority

NOW = datetime.now(UTC)  # noqa: TID251 - the TLS library uses the machine's clock


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM files, as either implementation reads them, and our contexts made from them."""

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> "Credentials":
        """Sign everything anew into `directory`."""
        own = Authority.open(directory / "authority", now=NOW)
        (directory / "trust.pem").write_text(own.root)
        console_key = keys.keep(directory / "console.key")
        (directory / "console.pem").write_text(own.sign_server(console_key.public_key(), ["127.0.0.1"], now=NOW).pem)
        request = authority.certificate_request(keys.keep(directory / "appliance.key"))
        (directory / "appliance.pem").write_text(own.sign_gateway(request, uuid4(), now=NOW).pem)
        return cls(directory)

    def named(self, who: str) -> tuple[Path, Path, Path]:
        """Return certificate, key and trust of "console" or "appliance"."""
        return self.directory / f"{who}.pem", self.directory / f"{who}.key", self.directory / "trust.pem"

    @property
    def server(self) -> ssl.SSLContext:
        certificate, key, trust = self.named("console")
        return tls.server(certificate, key, clients=trust.read_text())

    @property
    def client(self) -> ssl.SSLContext:
        certificate, key, trust = self.named("appliance")
        return tls.client(trust.read_text(), certificate=certificate, key=key)
