"""This file is a running console's care of its authority: it follows rotations, and keeps its own certificate fresh.

::

    every 2 s ──┬─ another process has rotated? ── read anew ──┬─ tell who waits for a newer trust bundle
                │                                              └─ take clients of a root that is new
                ├─ intermediate at half of its life, or not begun? ── a new one
                └─ own certificate at half of its life, not begun, or below another intermediate? ── a new one, in place

What has not begun was made while the clock was ahead, be it for one look.

Certificates are changed in the TLS contexts that listen already: what is open stays, and the next handshake shows the
new one. The key of the console's own certificate stays the same, for conversations that bind it.
"""

import asyncio
import ssl
from pathlib import Path

import structlog
from cryptography import x509

from gateway.console.settings import ConsoleSettings
from gateway.contract.trust import Grounds, TrustBundle
from gateway.identity import certificates, keys, tls
from gateway.identity.authority import Authority
from gateway.identity.vault import RootKeyAwayError
from gateway.kit import files
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

LOOKED_EVERY = 2.0
"""Seconds until a rotation by another process is noticed."""
CERTIFICATE = "server.pem"
"""Of the console itself, in its state directory."""

log = structlog.get_logger(__name__)


class Custody:
    """The authority of a running console, and the TLS contexts of its two ports.

    Making one raises AuthorityEndedError or AuthorityDamagedError where nothing can be signed.

    `trust` is what appliances are to trust now; `newer_than` is for who has to tell them.
    """

    def __init__(self, settings: ConsoleSettings, authority: Authority, *, clock: Clock) -> None:
        self.authority = authority
        self._settings = settings
        self._clock = clock
        self._turn = asyncio.Event()
        self._troubled = False
        try:
            self._renew_intermediate()
        except RootKeyAwayError as fault:
            self._say(fault)
        self._shown = self._certify()
        self._taken = authority.trust.version
        self.api = self._context()
        self.tunnel = self._context(clients=authority.clients)

    @property
    def trust(self) -> TrustBundle:
        """The roots that appliances are to trust."""
        return self.authority.trust

    @property
    def grounds(self) -> Grounds:
        """On what that may be believed."""
        return self.authority.grounds

    async def newer_than(self, version: int) -> TrustBundle:
        """Wait until there is a trust bundle of a higher version than that, and return it."""
        while self.trust.version <= version:
            await self._turn.wait()
        return self.trust

    async def run(self) -> None:
        """Look after the authority for ever; what fails is said once and tried again."""
        while True:
            await self._clock.sleep(LOOKED_EVERY)
            await self.look()

    async def look(self) -> None:
        """Do what there is to do now; what fails is said once."""
        try:
            try:
                await asyncio.to_thread(self._renew)
            finally:
                # On the event loop, which uses the contexts: OpenSSL lets nobody else change them meanwhile.
                self._apply()
        except (GatewayError, OSError, ValueError) as fault:
            self._say(fault)
        else:
            self._troubled = False

    def _renew(self) -> None:
        if self.authority.reload():
            log.info(
                "authority has changed", phase=self.authority.state.phase, version=self.trust.version, pin=self._pin
            )
        try:
            self._renew_intermediate()
        finally:
            if self._is_due():
                self._certify()

    def _renew_intermediate(self) -> None:
        now = self._clock.now()
        root, intermediate = self.authority.chain[0], self.authority.chain[-1]
        if not certificates.is_due(intermediate, now):
            return
        has_begun = intermediate.not_valid_before_utc <= now
        if has_begun and root.not_valid_after_utc <= max(now, intermediate.not_valid_after_utc):
            return  # a new one would not last longer: the root has to be rotated, which is for people to decide
        self.authority.renew_intermediate(now=now)
        log.info("intermediate renewed", until=self.authority.chain[-1].not_valid_after_utc.isoformat())

    def _is_due(self) -> bool:
        own, *above = self._own()
        return certificates.is_due(own, self._clock.now()) or above[:1] != [self.authority.chain[-1]]

    def _certify(self) -> int:
        key = keys.keep(self._key)
        issued = self.authority.sign_server(key.public_key(), self._settings.hosts, now=self._clock.now())
        files.write_whole(self._certificate, issued.pem.encode(), mode=0o644)
        return issued.serial

    def _apply(self) -> None:
        serial, version = self._own()[0].serial_number, self.trust.version
        if serial != self._shown:
            for context in (self.api, self.tunnel):
                context.load_cert_chain(self._certificate, self._key)
            self._shown = serial
            log.info("own certificate renewed")
        if version != self._taken:
            self.tunnel.load_verify_locations(cadata=self.authority.clients)
            self._taken = version
            turn, self._turn = self._turn, asyncio.Event()
            turn.set()

    def _own(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self._certificate.read_bytes())

    @property
    def _pin(self) -> str:
        return f"sha256:{self.authority.pin.hex()}"

    @property
    def _certificate(self) -> Path:
        return self._settings.state / CERTIFICATE

    @property
    def _key(self) -> Path:
        return self._settings.state / "server.key"

    def _context(self, *, clients: str | None = None) -> ssl.SSLContext:
        return tls.server(self._certificate, self._key, clients=clients)

    def _say(self, fault: Exception) -> None:
        if not self._troubled:
            log.error("authority cannot be looked after", code=getattr(fault, "code", "os"), reason=str(fault))
        self._troubled = True
