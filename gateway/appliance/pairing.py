"""This file is how the appliance pairs: from a registration token to a certificate.

::

    not paired ── any token ─────────────────────────────────────────────> paired
    paired ────── repair token for this very gateway, of its console ───> paired, with another device key
           └───── any other token ──> refused, before anything is proved: the token stays unused

The keys to pair with are on disk before the first question, and what pairing brings is switched to by one rename: cut
anywhere, the appliance is what it was, and the same token brings it on.
"""

import asyncio
import secrets
from dataclasses import dataclass, replace
from typing import TypeVar

import aiohttp
import structlog
from pydantic import BaseModel, ValidationError

from gateway.appliance import hardware
from gateway.appliance.connector import RoadConnector
from gateway.appliance.identity import Identity, Joined, Paired
from gateway.appliance.outward import FirstRoads, Way, nested_url
from gateway.contract.identity import Hardware
from gateway.contract.pairing import PairingChallenge, PairingFinish, PairingResult, PairingStart
from gateway.contract.problems import Problem, RelayedError
from gateway.contract.trust import Successions, TrustBundle
from gateway.identity import pairing, pinned, succession, tls, tokens, words
from gateway.identity.pinned import PATIENCE, Claimed, ConsoleUnreachableError
from gateway.identity.tokens import RegistrationToken
from gateway.kit.answers import read_whole
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.nested import Nested, OuterNotTrustedError
from gateway.tunnel.roads import DialError, Road

log = structlog.get_logger(__name__)

ANSWER_LIMIT = 256 * 1024
Answer = TypeVar("Answer", bound=BaseModel)


class PairingRefusedError(RelayedError):
    """The console refuses to pair and says why."""

    code = "pairing.refused"


class AlreadyPairedError(GatewayError):
    """The appliance is paired already."""

    code = "appliance.already_paired"
    remedy = Remedy.CALLER


class TlsOpenedError(GatewayError):
    """Something on the way to the console opens TLS, and there is no way around it."""

    code = "pairing.tls_opened"
    remedy = Remedy.OPERATOR


class TokenForOtherError(GatewayError):
    """The registration token pairs another gateway anew than this appliance."""

    code = "pairing.token_for_other"
    remedy = Remedy.CALLER


async def pair(
    identity: Identity, token_text: str, *, roads: FirstRoads | None = None, machine: Hardware | None = None
) -> Paired:
    """Pair with the console that made the token. Repeating it after a cut, with the same token, is safe.

    `machine` is what is told of the hardware; what is read of it unless given. Raises TokenMangledError,
    PinMismatchError, ConsoleUnreachableError, PairingRefusedError, AlreadyPairedError, TokenForOtherError,
    TlsOpenedError or a ProxyError.
    """
    token = tokens.parse(token_text)
    known = identity.joined()
    if known is not None and token.repairs and known.token_id == token.id:
        return known.paired
    _refuse_unless_ours(known, token)
    roads = roads or FirstRoads()
    first = RoadConnector(tls.unchecked(), roads.straight)
    authority = await pinned.authority_with_pin(token.url, token.pins, connector=first)
    applicant = _Applicant(identity, token, authority, known, machine or hardware.read(), issuer_seen=first.issuer_seen)
    result = await applicant.converse(roads)
    bundle = _led_to(result, token, authority)
    paired = identity.store(result.model_copy(update={"bundle": bundle}), console=token.url, token_id=token.id)
    log.info(
        "paired",
        gateway=paired.gateway_name,
        console=paired.console,
        fingerprint=words.fingerprint(identity.device().public_pem),
        to_be_confirmed=result.confirm,
    )
    return paired


def _led_to(result: PairingResult, token: RegistrationToken, authority: Claimed) -> TrustBundle:
    """Return the bundle with those roots only that the token names, or that follow from those.

    The console's TLS key alone may have said the others. Raises PinMismatchError or SuccessionBrokenError.
    """
    pins = {root: pinned.read_authority(root, source=token.url).pin for root in result.bundle.roots}
    if authority.pin not in pins.values():
        raise pinned.PinMismatchError(f"{token.url} answers with another authority than its own: nothing was kept")
    named = [root for root, pin in pins.items() if pin in token.pins]
    followed = succession.follow(named, Successions(steps=result.steps, trust=result.bundle))
    return TrustBundle(version=result.bundle.version, roots=followed.roots)


def _refuse_unless_ours(known: Joined | None, token: RegistrationToken) -> None:
    """Raise AlreadyPairedError unless the token may be used by an appliance that is paired as `known`."""
    if known is None:
        return
    ours = {pinned.read_authority(root, source=known.console).pin for root in known.trust.roots}
    if token.repairs and not ours.isdisjoint(token.pins):
        return
    raise AlreadyPairedError(
        f"this appliance is paired with {known.console} as {known.gateway_name}: an appliance belongs to one console; "
        f"give the token to a new one, or pair this one anew with `pcg gateway repair-token {known.gateway_name}`"
    )


@dataclass(frozen=True, slots=True)
class _Applicant:
    identity: Identity
    token: RegistrationToken
    authority: Claimed
    known: Joined | None
    machine: Hardware
    issuer_seen: str

    async def converse(self, roads: FirstRoads) -> PairingResult:
        """Have the conversation straight, or inside a WebSocket where TLS is opened on the way."""
        if roads.fixed is not Way.NESTED:
            try:
                return await self._over(roads.straight)
            except aiohttp.ClientConnectorCertificateError as fault:
                if roads.fixed is Way.DIRECT:
                    raise self._opened("the setting tunnel forbids to go around that") from fault
        log.info("TLS is opened on the way: pairing inside of it", issuer=self.issuer_seen)
        try:
            async with Nested(nested_url(self.token.url, inner="api"), roads.outer, roads.straight) as road:
                return await self._over(road)
        except (DialError, OuterNotTrustedError) as fault:
            if roads.fixed is Way.NESTED:
                raise
            raise self._opened(fault.message) from fault
        except aiohttp.ClientConnectorCertificateError as fault:
            raise self._opened("and what is inside of it is not the console either") from fault

    async def _over(self, road: Road) -> PairingResult:
        connector = RoadConnector(tls.timeless(self.authority.trust), road)
        async with aiohttp.ClientSession(self.token.url, connector=connector, timeout=PATIENCE) as session:
            start = PairingStart(token_id=self.token.id, nonce=secrets.token_hex(32))
            challenge = await _ask(session, "start", start, PairingChallenge)
            self._refuse_other(challenge)
            connector.only_key = connector.key_seen
            server = pairing.Server(self.token.url, self.authority.pin, connector.key_seen or "")
            finish = await asyncio.to_thread(self._proved, challenge, start.nonce, server)
            return await _ask(session, "finish", finish, PairingResult)

    def _proved(self, challenge: PairingChallenge, nonce: str, server: pairing.Server) -> PairingFinish:
        candidate = self.identity.candidate()
        machine = self.machine.model_copy(update={"device_key_in_tpm": candidate.device.in_tpm})
        return pairing.prove(self.token, replace(candidate, hardware=machine), challenge, nonce=nonce, server=server)

    def _refuse_other(self, challenge: PairingChallenge) -> None:
        if self.known is not None and challenge.repairs != self.known.gateway_id:
            raise TokenForOtherError(
                f"this appliance is {self.known.gateway_name}, and the token pairs another gateway anew: use it there, "
                f"or make one with `pcg gateway repair-token {self.known.gateway_name}`; it was not used up"
            )

    def _opened(self, further: str) -> "TlsOpenedError":
        return TlsOpenedError(
            f"{self.token.url} shows a certificate issued by {self.issuer_seen}, which is not the console's: something "
            f"on the way opens TLS; {further}",
            issuer=self.issuer_seen,
        )


async def _ask(session: aiohttp.ClientSession, what: str, question: BaseModel, answer: type[Answer]) -> Answer:
    try:
        body = question.model_dump(mode="json")
        async with session.post(f"/api/v1/pairing/{what}", json=body, allow_redirects=False) as response:
            text = (await read_whole(response, limit=ANSWER_LIMIT)).decode(errors="replace")
            if response.status >= 300:
                raise PairingRefusedError(Problem.model_validate_json(text))
            return answer.model_validate_json(text)
    except aiohttp.ClientConnectorCertificateError:
        raise
    except (aiohttp.ClientError, TimeoutError, OSError) as fault:
        raise ConsoleUnreachableError(f"the console stopped answering: {str(fault) or type(fault).__name__}") from fault
    except ValidationError as fault:
        raise ConsoleUnreachableError(
            "the answer is not a console's: look for a proxy between, or a console of another version"
        ) from fault
