"""This file is how the appliance comes back when its certificate, or whom it trusts, is worth nothing any more.

::

    call fails ──> is it about certificates? ── no ──> called again
                     │ yes
                     v
    whom to trust: the roots it has ── none fits ──> successions, each signed by the root before ──> roots that follow
                     │
                     v
    start ──> its time, and whose certificates it takes ──> ours is still good by both ──> called again, with the roots
                     │ not good, or the console has said so                                                that follow
                     v
    finish: device key and join state ──> certificate, join state ── one rename ──> called again

The appliance's own clock is not asked at any step. A certificate that a console grants is kept only when its chain
leads to a root that is trusted: somebody with a stolen key of the console's cannot give one.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import aiohttp
import structlog
from cryptography import x509
from pydantic import BaseModel, ValidationError

from gateway.appliance.connector import RoadConnector
from gateway.appliance.greeting import Self
from gateway.appliance.identity import Identity, Joined
from gateway.appliance.outward import FirstRoads, Way, nested_url
from gateway.contract.identity import RecoveryChallenge, RecoveryFinish, RecoveryResult, RecoveryStart
from gateway.contract.problems import Problem, RelayedError
from gateway.contract.trust import Successions
from gateway.identity import pinned, recovery, succession, tls
from gateway.identity.certificates import is_vouched_for
from gateway.identity.pinned import PATIENCE, ConsoleUnreachableError
from gateway.identity.tls import ConsoleCertificateEndedError
from gateway.kit.answers import read_whole
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.calling import BrokenOffError, CertificateRefusedError, ConsoleNotTrustedError
from gateway.tunnel.channel import ChannelClosedError
from gateway.tunnel.nested import Nested
from gateway.tunnel.roads import Road

log = structlog.get_logger(__name__)

SUCCESSIONS = "/api/v1/authority/successions"
START, FINISH = "/api/v1/recovery/start", "/api/v1/recovery/finish"
ANSWER_LIMIT = 1024 * 1024
ASKED_AGAIN = 1800.0
"""Seconds after which a console is asked again that wants a person to do something first."""
FIRST_PAUSE, LONGEST_PAUSE = 3600.0, 86400.0
"""Seconds between recoveries of which each has worked and none has led to a welcome."""

CERTIFICATE_WORTHLESS = ("relay.certificate_spent", "relay.certificate_unknown", "relay.certificate_over")

Answer = TypeVar("Answer", bound=BaseModel)


class RecoveryRefusedError(RelayedError):
    """The console does not take this appliance back and says why."""

    code = "recovery.refused"
    remedy = Remedy.OPERATOR

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        told = problem.facts.get("retry_after")
        self.facts["retry_after"] = told if problem.remedy is Remedy.RETRY else ASKED_AGAIN


class NotVouchedForError(GatewayError):
    """The certificate that was granted leads to no root that is trusted."""

    code = "recovery.not_vouched_for"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Suspicion:
    """That a call failed because of certificates; `said` is whether the console itself has said so."""

    said: bool


def suspicion(fault: GatewayError) -> Suspicion | None:
    """Judge a call that failed. What anybody on the way could have brought about is no proof, and looked into."""
    if isinstance(fault, ChannelClosedError):
        return Suspicion(said=True) if any(code in fault.message for code in CERTIFICATE_WORTHLESS) else None
    about = (ConsoleNotTrustedError, ConsoleCertificateEndedError, CertificateRefusedError, BrokenOffError)
    return Suspicion(said=False) if isinstance(fault, about) else None


def is_good(chain: str, roots: Sequence[str], *, now: datetime) -> bool:
    """Tell whether a console with these roots (PEM) takes a certificate with its chain (PEM) at its time `now`."""
    leaf = x509.load_pem_x509_certificate(chain.encode())
    return leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc and is_vouched_for(chain, roots)


class Recovery:
    """Brings the appliance back. `roads` tells the roads of each attempt; `failed` hears what was not mended."""

    def __init__(
        self,
        identity: Identity,
        itself: Self,
        *,
        roads: Callable[[], FirstRoads],
        clock: Clock,
        failed: Callable[[GatewayError], None] = lambda _fault: None,
    ) -> None:
        self._identity = identity
        self._failed = failed
        self._itself = itself
        self._roads = roads
        self._clock = clock
        self._not_before = clock.monotonic()
        self._pause = FIRST_PAUSE

    def worked(self) -> None:
        """Take note that the console has welcomed this appliance."""
        self._not_before, self._pause = self._clock.monotonic(), FIRST_PAUSE

    async def after(self, fault: GatewayError) -> bool:
        """Look whether a call failed because of certificates, and mend that; tell whether to call again at once.

        Raises RecoveryRefusedError, NotVouchedForError, SuccessionBrokenError, ConsoleUnreachableError, or what the
        way to the console raises.
        """
        try:
            mended = await self._mended(fault)
        except GatewayError as further:
            self._failed(further)
            raise
        if not mended:
            self._failed(fault)
        return mended

    async def _mended(self, fault: GatewayError) -> bool:
        found = suspicion(fault)
        if found is None or self._clock.monotonic() < self._not_before:
            return False
        log.info("the call failed because of certificates: recovering", because=fault.code, reason=fault.message)
        known = await asyncio.to_thread(self._identity.member)
        mended = await _Attempt(self._identity, self._itself, known, found.said).made(self._roads())
        if mended:
            self._not_before, self._pause = (
                self._clock.monotonic() + self._pause,
                min(LONGEST_PAUSE, 2 * self._pause),
            )
        return mended


@dataclass(frozen=True, slots=True)
class _Attempt:
    identity: Identity
    itself: Self
    known: Joined
    is_worthless: bool

    async def made(self, roads: FirstRoads) -> bool:
        """Ask the console, straight or inside a WebSocket where TLS is opened on the way; tell whether that helped."""
        if roads.fixed is not Way.NESTED:
            try:
                return await self._over(roads.straight)
            except aiohttp.ClientConnectorCertificateError as fault:
                if roads.fixed is Way.DIRECT:
                    raise _stranger(self.known) from fault
        try:
            async with Nested(nested_url(self.known.console, inner="api"), roads.outer, roads.straight) as road:
                return await self._over(road)
        except aiohttp.ClientConnectorCertificateError as fault:
            raise _stranger(self.known) from fault

    async def _over(self, road: Road) -> bool:
        roots = self.known.trust.roots
        try:
            return await self._with_any(road, roots)
        except aiohttp.ClientConnectorCertificateError:
            followed = succession.follow(roots, await self._successions(road)).roots
            if set(followed) <= set(roots):
                raise
            log.info("the console's root was followed to the present one")
            return await self._with_any(road, followed)

    async def _with_any(self, road: Road, roots: Sequence[str]) -> bool:
        """Converse with a console that one of the roots vouches for: which one, what is signed will say."""
        for root in roots[:-1]:
            try:
                return await self._converse(road, root, roots)
            except aiohttp.ClientConnectorCertificateError:
                continue
        return await self._converse(road, roots[-1], roots)

    async def _converse(self, road: Road, root: str, roots: Sequence[str]) -> bool:
        connector = RoadConnector(tls.timeless(root), road)
        async with aiohttp.ClientSession(self.known.console, connector=connector, timeout=PATIENCE) as session:
            start = RecoveryStart(gateway_id=self.known.gateway_id, nonce=secrets.token_hex(32))
            challenge = await _asked(session.post(START, json=_body(start), allow_redirects=False), RecoveryChallenge)
            if await asyncio.to_thread(self._is_still_good, roots, challenge):
                return await asyncio.to_thread(self._follow, roots)
            connector.only_key = connector.key_seen
            seen = recovery.Seen(pinned.read_authority(root, source="the trust").pin, connector.key_seen or "")
            finish = await asyncio.to_thread(self._proved, challenge, start.nonce, seen)
            result = await _asked(session.post(FINISH, json=_body(finish), allow_redirects=False), RecoveryResult)
        await asyncio.to_thread(self._keep, result, roots)
        return True

    def _is_still_good(self, roots: Sequence[str], said: RecoveryChallenge) -> bool:
        taken = _taken(roots, said.takes)
        return not self.is_worthless and is_good(self.identity.chain(), taken, now=said.server_time)

    def _follow(self, roots: Sequence[str]) -> bool:
        """Trust the roots that were followed to; tell whether they are others than before."""
        if list(roots) == list(self.known.trust.roots):
            return False
        self.identity.following(list(roots))
        return True

    def _proved(self, challenge: RecoveryChallenge, nonce: str, seen: recovery.Seen) -> RecoveryFinish:
        lost = recovery.Lost(
            gateway=self.known.gateway_id,
            device=self.identity.device(),
            join=self.known.join,
            request=self.identity.next_request(),
            boot_id=self.itself.boot_id,
            hardware=self.itself.hardware,
        )
        return recovery.prove(lost, challenge, nonce=nonce, seen=seen)

    def _keep(self, result: RecoveryResult, roots: Sequence[str]) -> None:
        granted = result.granted
        if not is_vouched_for(granted.certificate, roots) or not is_vouched_for(
            granted.certificate, granted.trust.roots
        ):
            raise NotVouchedForError(
                f"{self.known.console} granted a certificate that no root vouches for which this appliance trusts: "
                "look for somebody between it and the console"
            )
        began = x509.load_pem_x509_certificate(granted.certificate.encode()).not_valid_before_utc
        # The time of the authority itself: what a wrong clock of the console's may have told before is forgotten.
        self.identity.following(list(roots))
        joined = self.identity.granted(granted, tunnel=result.tunnel, told=began)
        log.info("recovered", gateway=joined.gateway_name, console=joined.console, number=joined.join.number)

    async def _successions(self, road: Road) -> Successions:
        """Fetch how the console's roots have followed each other. Who says it does not matter: it is signed."""
        connector = RoadConnector(tls.unchecked(), road)
        async with aiohttp.ClientSession(self.known.console, connector=connector, timeout=PATIENCE) as session:
            return await _asked(session.get(SUCCESSIONS, allow_redirects=False), Successions)


def _body(question: BaseModel) -> object:
    return question.model_dump(mode="json")


async def _asked(asking: "aiohttp.client._RequestContextManager", answer: type[Answer]) -> Answer:
    try:
        async with asking as response:
            text = (await read_whole(response, limit=ANSWER_LIMIT)).decode(errors="replace")
            if response.status >= 300:
                raise RecoveryRefusedError(Problem.model_validate_json(text))
            return answer.model_validate_json(text)
    except aiohttp.ClientConnectorCertificateError:
        raise
    except (aiohttp.ClientError, TimeoutError, OSError) as fault:
        raise ConsoleUnreachableError(f"the console does not answer: {str(fault) or type(fault).__name__}") from fault
    except ValidationError as fault:
        raise ConsoleUnreachableError(
            "the answer is not a console's: look for a proxy between, or a console of another version"
        ) from fault


def _taken(roots: Sequence[str], pins: Collection[str] | None) -> list[str]:
    """Return those of the roots (PEM) below which a console takes certificates that has said so by these pins.

    A root may be retired there long before its appliances hear of it: what it vouches for is of no use then.
    """
    return [root for root in roots if pins is None or pinned.read_authority(root, source="the trust").pin.hex() in pins]


def _stranger(known: Joined) -> ConsoleNotTrustedError:
    return ConsoleNotTrustedError(
        f"{known.console} shows a certificate that no root vouches for which this appliance trusts, or which follows "
        "from one of those: look for a proxy that opens TLS"
    )
