"""This file is the two ends of a tunnel for tests: an authority, what a console shows and what an appliance shows."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from gateway.identity import authority, keys, tls
from gateway.identity.authority import Authority

NOW = datetime.now(UTC)  # noqa: TID251 - the TLS library uses the machine's clock


class Ends:
    """An authority, a console's context and an appliance's."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.authority = Authority.open(directory / "ca", now=NOW)
        self.directory = directory
        self.gateway = uuid4()
        server_key = keys.keep(directory / "server.key")
        issued = self.authority.sign_server(server_key.public_key(), ["127.0.0.1", "console.example"], now=NOW)
        (directory / "server.pem").write_text(issued.pem)
        client_key = keys.keep(directory / "client.key")
        request = authority.certificate_request(client_key)
        (directory / "client.pem").write_text(self.authority.sign_gateway(request, self.gateway, now=NOW).pem)

    @property
    def server(self) -> ssl.SSLContext:
        return tls.server(self.directory / "server.pem", self.directory / "server.key", clients=self.authority.clients)

    @property
    def open_server(self) -> ssl.SSLContext:
        """The same without asking for a certificate."""
        return tls.server(self.directory / "server.pem", self.directory / "server.key")

    @property
    def client(self) -> ssl.SSLContext:
        certificate, key = self.directory / "client.pem", self.directory / "client.key"
        return tls.client(self.authority.root, certificate=certificate, key=key)
