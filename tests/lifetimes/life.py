"""This file is the life of one appliance in a simulation: power, links, renewals, recoveries, and a clock that lies.

What decides is the appliance's own code (`identity`, `renewal`, `recovering`) on a real directory. Only the wire is
missing: a call is made by asking the console's services, and what TLS would say is said by a verifier of others.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.appliance import recovering, renewal
from gateway.appliance.consoletime import ConsoleTime
from gateway.appliance.greeting import Self
from gateway.appliance.identity import Identity, Joined
from gateway.appliance.outward import FirstRoads
from gateway.console.renewal import ClonedError
from gateway.contract.identity import Hardware, RecoveryStart
from gateway.contract.pairing import PairingStart
from gateway.contract.problems import problem_of
from gateway.contract.trust import Successions
from gateway.identity import pairing, recovery, tls, tokens
from gateway.kit.errors import GatewayError
from gateway.tunnel.calling import CertificateRefusedError, ConsoleNotTrustedError
from gateway.tunnel.channel import ChannelClosedError
from gateway.tunnel.roads import Road
from tests.lifetimes.hub import Hub

HOUR, DAY = 3600.0, 86400.0
KEPT_BY_A_THIEF = 3
KEY = ConnectionKey("console.example.com", 8443, True, True, None, None, None)
CLOCKS = (timedelta(0), timedelta(0), timedelta(days=-20_000), timedelta(days=3650), timedelta(hours=-7))


class WrongClock:
    """The appliance's clock: it shows anything, and counts seconds only."""

    def __init__(self, hub: Hub, random: Random) -> None:
        self._hub = hub
        self.off = random.choice(CLOCKS)

    def now(self) -> datetime:
        return max(self._hub.calendar.now() + self.off, datetime(1970, 1, 1, tzinfo=UTC))

    def monotonic(self) -> float:
        return self._hub.calendar.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing here waits, and something waits for {seconds} s")


@dataclass
class Life:
    """One appliance. `news` counts what has happened to it."""

    hub: Hub
    name: str
    identity: Identity
    random: Random
    on: bool = False
    connected: bool = False
    approvals: int = 0
    recoveries: int = 0
    renewals: int = 0
    shown: str = ""
    """The chain that the console has shown in the channel that is open."""
    in_vain: int = 0
    """Looks in a row at which it was on and did not get through, with nobody to wait for."""
    faults: list[str] = field(default_factory=list)
    thief: list[str] = field(default_factory=list)
    """Chains that were replaced, as somebody keeps them who read the disk back then."""

    @classmethod
    async def paired(cls, hub: Hub, directory: Path, name: str, random: Random) -> "Life":
        """Return a new appliance, paired with a token as every other."""
        life = cls(hub, name, Identity.open(directory), random)
        _, text = await hub.tokens.make(hub.scope, name, life=timedelta(hours=24), author="ops")
        token, nonce = tokens.parse(text), secrets.token_hex(32)
        start = PairingStart(token_id=token.id, nonce=nonce)
        challenge = await hub.pairing.start(start, address="203.0.113.7")
        server = pairing.Server(token.url, token.pins[0], hub.server_pin)
        finish = pairing.prove(token, life.identity.candidate(), challenge, nonce=nonce, server=server)
        result = await hub.pairing.finish(finish, address="203.0.113.7")
        life.identity.store(result, console=token.url, token_id=token.id)
        life.start()
        return life

    @property
    def gateway(self) -> UUID:
        return self.identity.member().gateway_id

    def start(self) -> None:
        """Power on: what is remembered is what is on the disk."""
        self.on, self.connected, self.in_vain = True, False, 0
        self.clock = WrongClock(self.hub, self.random)
        self.time = ConsoleTime(self.clock)
        self.turnover = renewal.Turnover()
        self.renewing = renewal.Renewal(self.identity, self.time, self.turnover, clock=self.clock)
        itself = Self(boot_id=uuid4(), hardware=Hardware())
        self.recovering = recovering.Recovery(self.identity, itself, roads=FirstRoads, clock=self.clock)

    def stop(self) -> None:
        self.on = self.connected = False

    def cut_when_over(self) -> None:
        """Be cut by the console when the certificate's time is over."""
        over = self.identity.certificate().not_valid_after_utc <= self.hub.calendar.now()
        self.connected = self.connected and not over

    async def call(self) -> None:
        """Call the console as `link` does: a call, and after a fault of certificates a recovery and another call."""
        for _ in range(4):
            try:
                await self._called()
            except GatewayError as fault:
                self.faults.append(fault.code)
                if not await self._recovered(fault):
                    return
            else:
                self.connected = True
                self.recovering.worked()
                return

    def hear_whom_to_trust(self) -> None:
        """Take in what the console says over the open channel."""
        bundle = self.hub.authority.trust
        if bundle.version > self.identity.member().trust.version:
            self.identity.trusting(bundle, grounds=self.hub.authority.grounds, shown=self.shown)

    async def look(self) -> None:
        """Do what an appliance that is on does by itself, and count how often in a row that brings it nowhere."""
        approvals = self.approvals
        if self.on and not self.connected:
            await self.call()
        if self.connected:
            await self.renew_if_due()
        in_vain = self.on and not self.connected and self.approvals == approvals
        self.in_vain = self.in_vain + 1 if in_vain else 0

    async def renew_if_due(self) -> None:
        """Renew as the appliance's loop does, with answers that are lost and cuts at the worst moments."""
        if self.renewing._look() > 0:
            return
        renew = self.renewing._question()
        known = await self.hub.gateway(self.gateway)
        granted = await self.hub.renewal.renewed(known, renew, address="203.0.113.7")
        luck = self.random.random()
        if luck < 0.02:  # the answer is lost: the same question again, hours later
            return
        if luck < 0.03:  # the power is cut before the answer is on the disk
            self.stop()
            return
        before = self.identity.chain()
        self.identity.granted(granted)
        self.renewals += 1
        if luck < 0.04:  # and here before the new one was ever shown
            self.stop()
            return
        self.start()
        await self.call()
        assert self.connected, (self.name, self.faults[-5:])
        self.thief = [*self.thief[1 - KEPT_BY_A_THIEF :], before]

    async def _called(self) -> None:
        known, now = self.identity.member(), self.hub.calendar.now()
        if not recovering.is_vouched_for(self.hub.server_chain, known.trust.roots):
            raise ConsoleNotTrustedError("no root of ours vouches for it")
        leaf = x509.load_pem_x509_certificate(self.hub.server_chain.encode())
        tls.judge_dates(leaf.public_bytes(serialization.Encoding.DER), floor=known.told)
        chain = self.identity.chain()
        if not self.hub.tls_takes(chain):
            raise CertificateRefusedError("the console's TLS does not take the certificate")
        try:
            await self.hub.admit(chain)
        except GatewayError as fault:
            raise ChannelClosedError(f"{fault.code}: {fault.message}") from fault
        self.time.heard(now, asked=self.clock.monotonic())
        self.identity.told(now)
        self.shown = self.hub.server_chain
        self.hear_whom_to_trust()
        await self.hub.keeps_trust(known.gateway_id, self.identity.member().trust.version)

    async def _recovered(self, fault: GatewayError) -> bool:
        try:
            mended = await self.recovering.after(fault)
        except recovering.RecoveryRefusedError as refused:
            self.faults.append(refused.problem.code)
            if refused.problem.code == "recovery.needs_approval":
                self.approvals += 1
                await self.hub.rulings.approve_recovery(self.hub.scope, self.name, author="a person, a day later")
            return False
        self.recoveries += mended
        return mended


@dataclass(frozen=True, slots=True)
class InProcess(recovering._Attempt):
    """An attempt to recover that asks the console's services instead of its address."""

    hub: Hub

    async def _converse(self, road: Road, root: str, roots: Sequence[str]) -> bool:
        if not recovering.is_vouched_for(self.hub.server_chain, [root]):
            raise aiohttp.ClientConnectorCertificateError(KEY, OSError("not vouched for by that root"))
        start = RecoveryStart(gateway_id=self.known.gateway_id, nonce=secrets.token_hex(32))
        try:
            challenge = await self.hub.recovery.start(start, address="203.0.113.7")
            if self._is_still_good(roots, challenge):
                return self._follow(roots)
            pin = recovering.pinned.read_authority(root, source="the trust").pin
            finish = self._proved(challenge, start.nonce, recovery.Seen(pin, self.hub.server_pin))
            result = await self.hub.recovery.finish(finish, address="203.0.113.7")
        except ClonedError:
            raise
        except GatewayError as fault:
            raise recovering.RecoveryRefusedError(problem_of(fault)) from fault
        self._keep(result, roots)
        return True

    async def _successions(self, road: Road) -> Successions:
        return Successions.model_validate_json(self.hub.authority.successions.model_dump_json())


def without_a_wire(hub: Hub) -> type[recovering._Attempt]:
    """Return what takes the place of attempts over a wire."""

    def attempt(identity: Identity, itself: Self, known: Joined, is_worthless: bool) -> InProcess:
        return InProcess(identity, itself, known, is_worthless, hub)

    return attempt  # type: ignore[return-value]
