"""This file is the console of a simulation: its real services and database, by a clock that the simulation moves.

Only the wire is missing. What TLS would judge there is judged by `cryptography`'s own verifier, which shares no code
with what we judge by: a certificate's chain and dates, as of the console's time.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, VerificationError
from cryptography.x509.verification import Store as Roots

from gateway.console.admission import Admitted, Entrance
from gateway.console.bells import Bells
from gateway.console.enrolling import House
from gateway.console.granting import Issuer
from gateway.console.pairing import Pairing
from gateway.console.records import Gateway
from gateway.console.recovery import Recovery
from gateway.console.renewal import Renewal
from gateway.console.rulings import Rulings
from gateway.console.store import doors, gateways, standing
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from gateway.console.tokens import Tokens
from gateway.identity import certificates, keys
from gateway.identity.authority import Authority
from gateway.identity.challenge import Challenger
from gateway.identity.pairing import Server

URL, TUNNEL = "https://console.example.com:8443", "wss://console.example.com:8444/"
BEGIN = datetime(2027, 1, 1, tzinfo=UTC)
SERVER_RENEWED = timedelta(days=15)


class Calendar:
    """The simulation's time: what the console's clock shows."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing here waits, and something waits for {seconds} s")


@dataclass
class Hub:
    """The console."""

    calendar: Calendar
    store: Store
    scope: Scope
    authority: Authority
    entrance: Entrance
    pairing: Pairing
    renewal: Renewal
    recovery: Recovery
    rulings: Rulings
    tokens: Tokens
    server_key: keys.PrivateKey
    server_chain: str = ""
    server_since: datetime = BEGIN

    @property
    def server_pin(self) -> str:
        return keys.spki_digest(self.server_key.public_key()).hex()

    def certify(self) -> None:
        """Give the console its own certificate when it is due, or when the authority has changed."""
        now = self.calendar.now()
        issued = self.authority.sign_server(self.server_key.public_key(), ["console.example.com"], now=now)
        self.server_chain, self.server_since = issued.pem, now

    def look_after_itself(self) -> None:
        if self.calendar.now() - self.server_since > SERVER_RENEWED:
            self.certify()

    def tls_takes(self, chain: str) -> bool:
        """Tell what the console's TLS would say of a client certificate with its chain (PEM) now."""
        leaf, *rest = x509.load_pem_x509_certificates(chain.encode())
        roots = Roots(x509.load_pem_x509_certificates(self.authority.clients.encode()))
        verifier = PolicyBuilder().store(roots).time(self.calendar.now()).build_client_verifier()
        try:
            verifier.verify(leaf, rest)
        except VerificationError:
            return False
        return True

    async def admit(self, chain: str) -> Admitted:
        leaf = x509.load_pem_x509_certificate(chain.encode())
        return await self.entrance.admit(leaf.public_bytes(serialization.Encoding.DER), address="203.0.113.7")

    async def gateway(self, gateway: UUID) -> Gateway:
        async with self.store.reading(self.scope) as rows:
            return await gateways.by_id(rows, gateway)

    async def keeps_trust(self, gateway: UUID, version: int) -> None:
        async with self.store.writing(self.scope) as rows:
            await standing.trust_kept(rows, gateway, version)

    async def serial_of(self, gateway: UUID) -> int:
        async with self.store.reading(self.scope) as rows:
            return (await gateways.by_id(rows, gateway)).certificate_serial


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Hub]:
    """Run a console's services in a directory."""
    calendar, bells, secret = Calendar(), Bells(), secrets.token_bytes(32)
    authority = Authority.open(directory / "authority", now=calendar.now())
    server_key = keys.new_key()
    async with Store.open(f"sqlite+aiosqlite:///{directory / 'console.sqlite'}") as store:
        scope = Scope(await doors.tenant_named(store, "default", now=calendar.now()))
        key = keys.spki_digest(server_key.public_key()).hex()

        def servers() -> list[Server]:
            roots = [x509.load_pem_x509_certificate(root.encode()) for root in authority.trust.roots]
            return [Server(URL, certificates.spki_pin(root), key) for root in roots]

        house = House(authority=authority, servers=servers, tunnel=TUNNEL, join_secret=secret)
        hub = Hub(
            calendar=calendar,
            store=store,
            scope=scope,
            authority=authority,
            entrance=Entrance(store, authority.vouches_for, calendar),
            pairing=Pairing(store, house, Challenger(secret, purpose="pairing"), bells, clock=calendar),
            renewal=Renewal(store, Issuer(authority, secret), clock=calendar),
            recovery=Recovery(store, house, Challenger(secret, purpose="recovery"), bells, budget=10, clock=calendar),
            rulings=Rulings(store, bells, clock=calendar),
            tokens=Tokens(store, url=URL, pins=lambda: authority.pins, clock=calendar),
            server_key=server_key,
        )
        hub.certify()
        yield hub
