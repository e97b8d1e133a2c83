"""This file is one examination: every check in order, each timed, each skipped when one that it needs has failed.

::

    dns ─ tcp ─ proxy ─ credentials ─ tls ─┬─ certificate
                                           └─ websocket ─ hold ─ clock ─ mtu ─ throughput
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime

from pydantic import BaseModel, ConfigDict
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway.appliance import outward
from gateway.appliance.doctor import findings, measures, ports, talk, verdicts
from gateway.appliance.doctor.findings import Check, Facts, Seen, Verdict
from gateway.appliance.doctor.subject import Place, Subject
from gateway.appliance.doctor.verdicts import May, Shown
from gateway.appliance.identity import NotPairedError
from gateway.identity import tls
from gateway.identity.pinned import PATH as AUTHORITY_PATH
from gateway.identity.pinned import PinMismatchError, read_authority
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.nested import Nested
from gateway.tunnel.proxies import (
    ProxyAuthenticationError,
    ProxyBrokenError,
    ProxyError,
    ProxyFailedError,
    ProxyRefusedError,
    ProxyUnreachableError,
)
from gateway.tunnel.roads import Road

NOT_NOW = {404, 429, 503}
"""What a console answers that has no echo, or none to spare."""


class Result(BaseModel):
    """One check, as programs get it."""

    model_config = ConfigDict(frozen=True)

    check: Check
    verdict: Verdict
    finding: str
    seen: str
    cause: str
    remedy: str
    who: Remedy
    seconds: float
    facts: Facts


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that things may take."""

    connect: float = 5.0
    handshake: float = 15.0
    answer: float = 10.0
    hold: float = 90.0
    """How long a connection is left quiet; 0 leaves that check out."""


Step = Callable[[], Awaitable[Seen]]
NEEDS: dict[Check, tuple[Check, ...]] = {
    Check.TCP: (Check.DNS,),
    Check.PROXY: (Check.TCP,),
    Check.CREDENTIALS: (Check.TCP,),
    Check.TLS: (Check.TCP, Check.PROXY, Check.CREDENTIALS),
    Check.CERTIFICATE: (Check.TCP, Check.PROXY, Check.CREDENTIALS, Check.TLS),
    Check.WEBSOCKET: (Check.TCP, Check.PROXY, Check.CREDENTIALS),
    Check.HOLD: (Check.WEBSOCKET,),
    Check.CLOCK: (Check.TCP, Check.PROXY, Check.CREDENTIALS),
    Check.MTU: (Check.WEBSOCKET,),
    Check.THROUGHPUT: (Check.WEBSOCKET,),
}


@dataclass(slots=True)
class Examination:
    """One examination of one subject. What a check learns, the later ones use."""

    subject: Subject
    clock: Clock
    patience: Patience = field(default_factory=Patience)
    nested: bool = False
    """Whether the appliance's tunnel would travel nested, by what was seen so far."""
    _addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _trust: str = ""
    _api_holds: bool = False
    _credentials: Seen = field(default_factory=lambda: Seen(findings.CREDENTIALS_NONE, ""))
    _unmet: dict[Check, Verdict] = field(default_factory=dict)

    async def run(self, *, began: Callable[[Check], None], told: Callable[[Result], None]) -> list[Result]:
        """Go through every check; `began` and `told` are called as each begins and ends."""
        self.nested = self.subject.may_nest is May.ALWAYS
        self._trust = self.subject.trust or ""
        results = []
        for check, step in self._steps().items():
            began(check)
            start = self.clock.monotonic()
            seen = await self._seen(check, step)
            result = _result(check, seen, self.clock.monotonic() - start)
            told(result)
            results.append(result)
        return results

    def _steps(self) -> dict[Check, Step]:
        return {
            Check.DNS: self._dns,
            Check.TCP: self._tcp,
            Check.PROXY: self._proxy,
            Check.CREDENTIALS: self._signed_in,
            Check.TLS: self._tls,
            Check.CERTIFICATE: self._certificate,
            Check.WEBSOCKET: self._websocket,
            Check.HOLD: self._hold,
            Check.CLOCK: self._clock,
            Check.MTU: self._mtu,
            Check.THROUGHPUT: self._throughput,
        }

    async def _seen(self, check: Check, step: Step) -> Seen:
        unused = self.subject.proxy is None and check in {Check.PROXY, Check.CREDENTIALS}
        for needed in () if unused else NEEDS.get(check, ()):
            if self._unmet.get(needed) is Verdict.FAILED:
                self._unmet[check] = Verdict.FAILED
                return Seen(findings.NOT_REACHED, f"needs {needed}")
        if check in {Check.HOLD, Check.MTU, Check.THROUGHPUT} and Check.WEBSOCKET in self._unmet:
            return Seen(findings.NO_ECHO, "")
        seen = await step()
        if seen.finding.verdict is Verdict.FAILED or seen.finding is findings.NO_ECHO:
            self._unmet[check] = seen.finding.verdict
        return seen

    async def _dns(self) -> Seen:
        proxy = self.subject.proxy
        hosts = [proxy.host] if proxy else list(dict.fromkeys(place.host for place in self.subject.places))
        looked = [await ports.look_up(host) for host in hosts]
        for one in looked:
            if not one.addresses:
                finding = findings.DNS_UNKNOWN if one.unknown else findings.DNS_SILENT
                return Seen(finding, f"{'proxy ' if proxy else ''}{one.host}")
            self._addresses[one.host] = one.addresses
        seen = "; ".join(f"{one.host}: {', '.join(one.addresses)}" for one in looked)
        literal = all(ports.is_literal(host) for host in hosts)
        whose = "; the proxy looks up the console's" if proxy else ""
        return Seen(findings.DNS_LITERAL if literal else findings.DNS_RESOLVED, f"{seen}{whose}")

    async def _tcp(self) -> Seen:
        proxy = self.subject.proxy
        places = [Place(proxy.host, proxy.port)] if proxy else self.subject.places
        async with asyncio.TaskGroup() as group:
            knocks = [
                group.create_task(ports.knock(address, place.port, within=self.patience.connect, tunnel=place.tunnel))
                for place in places
                for address in self._addresses[place.host]
            ]
        seen = verdicts.tcp([one.result() for one in knocks], may_nest=self.subject.may_nest is May.IF_NEEDED)
        self.nested = self.nested or seen.finding is findings.TCP_TUNNEL_NESTED
        return seen

    async def _proxy(self) -> Seen:
        proxy = self.subject.proxy
        if proxy is None:
            return Seen(findings.PROXY_NONE, "")
        given = proxy.credentials is not None
        accepted = findings.CREDENTIALS_ACCEPTED if given else findings.CREDENTIALS_UNASKED
        self._credentials = Seen(accepted, str(proxy))
        for place in self.subject.places:
            try:
                connected = await self.subject.road.connect(place.host, place.port)
            except ProxyAuthenticationError as fault:
                wrong = findings.CREDENTIALS_WRONG if given else findings.CREDENTIALS_MISSING
                self._credentials = Seen(wrong, fault.message)
                return Seen(findings.PROXY_ASKS, str(proxy))
            except GatewayError as fault:
                if place.tunnel and self.subject.may_nest is May.IF_NEEDED and isinstance(fault, ProxyError):
                    self.nested = True
                    return Seen(findings.PROXY_TUNNEL_NESTED, fault.message)
                return Seen(_refusal(fault), fault.message)
            connected.close()
        return Seen(findings.PROXY_CONNECTED, f"{proxy} to {', '.join(one.text for one in self.subject.places)}")

    async def _signed_in(self) -> Seen:
        if Check.PROXY in self._unmet and self._credentials.finding.verdict is not Verdict.FAILED:
            return Seen(findings.NOT_REACHED, "needs proxy")
        return self._credentials

    async def _tls(self) -> Seen:
        learnt = await self._learn()
        if isinstance(learnt, Seen):
            return learnt
        trust = tls.timeless(self._trust) if self._trust else None
        places = [one for one in self.subject.places if not (one.tunnel and self.nested)]
        shown = [await self._shown(place, trust) for place in places]
        if trust is None:
            return verdicts.unjudged(shown, pin=learnt)
        self._api_holds = not any((one.fault or one.broken) for one in shown if not one.tunnel)
        seen = verdicts.tls(shown, nested=self.subject.may_nest)
        if seen.finding in {findings.TLS_OPENED_NESTED, findings.TLS_TUNNEL_NESTED}:
            self.nested = True
        return seen

    async def _shown(self, place: Place, trust: ssl.SSLContext | None) -> Shown:
        road, outer = self.subject.road, self.subject.outer
        return await talk.shown(road, place, trust=trust, outer=outer, within=self.patience.handshake)

    async def _learn(self) -> Seen | str:
        """Fetch the authority that the console claims and believe it by its pin; return the pin, or what is wrong."""
        if self._trust:
            return ""
        try:
            answer = await self._ask(AUTHORITY_PATH)
            claimed = read_authority(answer.body.decode(errors="replace"), source=self.subject.console)
        except (OSError, GatewayError, PinMismatchError):
            return ""  # the certificate that is shown tells more than this
        if self.subject.pins and claimed.pin not in self.subject.pins:
            return Seen(findings.TLS_OTHER_AUTHORITY, f"its pin is {claimed.pin_text}")
        if self.subject.pins:
            self._trust = claimed.trust
        return claimed.pin_text

    async def _certificate(self) -> Seen:
        tunnel = self.subject.tunnel
        if self.subject.identity is None or tunnel is None:
            return Seen(findings.CERTIFICATE_NOT_PAIRED, "")
        try:
            context, until = self.subject.identity.tls(), self.subject.certificate_ends()
        except NotPairedError as fault:
            return Seen(findings.CERTIFICATE_UNREADABLE, fault.message)
        status, alert = None, ""
        async with AsyncExitStack() as stack:
            road: Road = self.subject.road
            if self.nested:
                url = outward.nested_url(self.subject.console)
                road = await stack.enter_async_context(Nested(url, self.subject.outer, road))
            try:
                answer = await talk.ask(
                    road, tunnel, "/", context=context, within=self.patience.handshake, headers=talk.UPGRADE
                )
                status = answer.status
            except (OSError, GatewayError) as fault:
                alert = talk.in_words(fault)
        seen = verdicts.certificate(status, alert, until=until, now=self.clock.now())
        way = "nested, through the API's port" if self.nested else f"at {tunnel.text}"
        return Seen(seen.finding, f"{seen.seen}; {way}", seen.facts)

    async def _websocket(self) -> Seen:
        try:
            async with self._echo() as echo:
                if await measures.comes_back(echo, b"pcg doctor", within=self.patience.answer):
                    return Seen(findings.WEBSOCKET_OPEN, f"{self.subject.api.text}{measures.PATH}")
                return Seen(findings.WEBSOCKET_CUT, "it opens, and nothing comes back")
        except ConnectionClosed as fault:
            return Seen(findings.WEBSOCKET_CUT, f"it opens and is closed: {fault}")
        except GatewayError as fault:
            status = fault.facts.get("status")
            if status in NOT_NOW:
                return Seen(findings.NO_ECHO, fault.message)
            return Seen(findings.WEBSOCKET_REFUSED if status else findings.WEBSOCKET_CUT, fault.message)

    async def _hold(self) -> Seen:
        wished = self.patience.hold
        if not wished:
            return Seen(findings.NOT_WANTED, "")
        try:
            async with self._echo() as echo:
                ended, after = await measures.hold(echo, seconds=wished, answer=self.patience.answer, clock=self.clock)
        except GatewayError as fault:
            return Seen(findings.NO_ECHO, fault.message)
        proxy = self.subject.proxy
        between = f"the proxy {proxy} or what lies behind it" if proxy else "a firewall, NAT or load balancer between"
        return verdicts.hold(ended, after=after, wished=wished, road=between)

    async def _clock(self) -> Seen:
        before = self.clock.now()
        try:
            answer = await self._ask("/healthz")
            said = parsedate_to_datetime(answer.headers["date"])
        except (OSError, GatewayError, KeyError, ValueError):
            return verdicts.clock(None)
        middle = before + (self.clock.now() - before) / 2
        told = said if said.tzinfo else said.replace(tzinfo=UTC)
        return verdicts.clock((middle - told).total_seconds() - 0.5)  # Date is cut down to the second

    async def _mtu(self) -> Seen:
        try:
            async with self._echo() as echo:
                kernel = measures.kernel_mtu(echo)
                found = await measures.sizes(echo, answer=self.patience.answer)
        except GatewayError as fault:
            return Seen(findings.NO_ECHO, fault.message)
        return verdicts.mtu(found.passed, found.lost, cut=found.cut, kernel=kernel)

    async def _throughput(self) -> Seen:
        try:
            async with self._echo() as echo:
                up = await measures.up(echo, clock=self.clock)
                down = None if up is None else await measures.down(echo, clock=self.clock)
        except GatewayError as fault:
            return Seen(findings.NO_ECHO, fault.message)
        return verdicts.throughput(up, down)

    def _echo(self) -> AbstractAsyncContextManager[ClientConnection]:
        return measures.echoing(self.subject.road, self.subject.api, self._context())

    async def _ask(self, path: str) -> talk.Answer:
        within = self.patience.handshake
        return await talk.ask(self.subject.road, self.subject.api, path, context=self._context(), within=within)

    def _context(self) -> ssl.SSLContext:
        """Return whom to believe on the API's port: the console, or anybody; nothing secret is said there."""
        return tls.timeless(self._trust) if self._trust and self._api_holds else talk.any_tls()


def _refusal(fault: GatewayError) -> findings.Finding:
    match fault:
        case ProxyRefusedError() | ProxyFailedError():
            return findings.PROXY_REFUSED
        case ProxyUnreachableError():
            return findings.PROXY_UNREACHABLE
        case ProxyBrokenError():
            return findings.PROXY_BROKEN
    return findings.PROXY_UNREACHABLE


def _result(check: Check, seen: Seen, seconds: float) -> Result:
    found = seen.finding
    return Result(
        check=check,
        verdict=found.verdict,
        finding=found.code,
        seen=seen.seen,
        cause=found.cause,
        remedy=found.remedy,
        who=found.who,
        seconds=round(seconds, 3),
        facts=seen.facts,
    )
