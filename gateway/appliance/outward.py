"""This file is which road the appliance takes to its console: what the settings say, and what has worked.

::

    auto:  straight ── not trusted, or not reached before ──> nested ── fails ──> straight …
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

import structlog

from gateway.appliance.settings import ApplianceSettings
from gateway.identity import tls
from gateway.kit import secretfile
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel import proxies
from gateway.tunnel.calling import ConsoleNotTrustedError
from gateway.tunnel.nested import Nested, OuterNotTrustedError
from gateway.tunnel.proxies import (
    Credentials,
    ProxyAddress,
    ProxyAuthenticationError,
    ProxySettingError,
    ProxyUnreachableError,
)
from gateway.tunnel.roads import DialError, Direct, Road

PATH = "/api/v1/nested"

log = structlog.get_logger(__name__)


class OuterTrustUnreadableError(GatewayError):
    """The file of the setting outer_trust cannot be read."""

    code = "appliance.outer_trust"
    remedy = Remedy.OPERATOR


class Way(StrEnum):
    """How the tunnel's own TLS travels."""

    DIRECT = "direct"
    NESTED = "nested"


@dataclass(slots=True)
class Choice:
    """Which way to take next: a decision, from how the calls before went. `fixed` is what a setting demands."""

    fixed: Way | None = None
    way: Way = Way.DIRECT
    direct_worked: bool = False

    def __post_init__(self) -> None:
        self.way = self.fixed or self.way

    def worked(self, way: Way) -> None:
        """Take note that a call went well; it is the way to take from now on."""
        self.direct_worked = self.direct_worked or way is Way.DIRECT
        self.way = self.fixed or way

    def failed(self, way: Way, fault: GatewayError) -> None:
        """Take note that a call failed; one that says when to call again has been answered by the console."""
        if self.fixed is not None or way is not self.way or fault.facts.get("retry_after") is not None:
            return
        if way is Way.NESTED:
            self.way = Way.DIRECT
        elif self._another_might_do(fault):
            self.way = Way.NESTED

    def _another_might_do(self, fault: GatewayError) -> bool:
        if isinstance(fault, ProxyUnreachableError | ProxyAuthenticationError):
            return False
        # A console that was reached straight and is not there just now is being restarted: no reason for a detour.
        return isinstance(fault, ConsoleNotTrustedError) or not self.direct_worked


class Outward:
    """The roads to one console. `road` is the one to take now; whoever takes it says by `noting` how it went."""

    def __init__(self, direct: Road, nested: Road, choice: Choice, outer: ssl.SSLContext | None = None) -> None:
        self._roads = {Way.DIRECT: direct, Way.NESTED: nested}
        self._choice = choice
        self._outer = outer

    def trusting(self, roots: str) -> None:
        """Let the outer connection show a certificate of these authorities (PEM) as well, from the next one on."""
        if self._outer is not None:
            self._outer.load_verify_locations(cadata=roots)

    @property
    def road(self) -> Road:
        """The road to take now."""
        return self._roads[self._choice.way]

    @contextmanager
    def noting(self) -> Iterator[Road]:
        """Yield the road for one attempt to open something, and remember whether that went well."""
        before = self._choice.way
        try:
            yield self._roads[before]
        except (DialError, ConsoleNotTrustedError, OuterNotTrustedError) as fault:
            self._choice.failed(before, fault)
            if self._choice.way is not before:
                log.info("another way to the console will be tried", way=self._choice.way.value, reason=fault.message)
            raise
        self._choice.worked(before)


@asynccontextmanager
async def opened(settings: ApplianceSettings, console: str, *, trust: str) -> AsyncIterator[Outward]:
    """Open the roads to the console at `console` (https://…), whose authority is `trust` (PEM), and close them after.

    Raises ProxySettingError, SecretUnreadableError or OuterTrustUnreadableError.
    """
    straight = first_road(settings)
    outer = outer_tls(settings, trust=trust)
    async with Nested(nested_url(console), outer, straight) as nested:
        yield Outward(straight, nested, Choice(fixed_way(settings)), outer)


@dataclass(frozen=True, slots=True)
class FirstRoads:
    """The roads to a console that nothing is known of yet but its address."""

    straight: Road = field(default_factory=Direct)
    fixed: Way | None = None
    outer: ssl.SSLContext = field(default_factory=lambda: tls.outward(""))


def first_roads(settings: ApplianceSettings, *, trust: str = "") -> FirstRoads:
    """Return the roads to pair over, or to recover over with `trust` (PEM).

    Raises ProxySettingError, SecretUnreadableError or OuterTrustUnreadableError.
    """
    return FirstRoads(first_road(settings), fixed_way(settings), outer_tls(settings, trust=trust))


def first_road(settings: ApplianceSettings) -> Road:
    """Return the road that the settings name: straight, or through a proxy."""
    if settings.proxy is None:
        if settings.proxy_credentials_file is not None:
            raise ProxySettingError("there are credentials for a proxy and no proxy: name it in the setting proxy")
        return Direct()
    credentials = None
    if settings.proxy_credentials_file is not None:
        credentials = Credentials.parse(secretfile.read(settings.proxy_credentials_file))
    return proxies.through(ProxyAddress.parse(settings.proxy, credentials))


def fixed_way(settings: ApplianceSettings) -> Way | None:
    """Return the way that the settings demand, or None where it may be found out."""
    return None if settings.tunnel == "auto" else Way(settings.tunnel)


def nested_url(console: str, *, inner: str = "tunnel") -> str:
    """Return the WebSocket that carries bytes to the console's own port `inner`: tunnel or api."""
    return f"wss://{urlsplit(console).netloc}{PATH}?inner={inner}"


def outer_tls(settings: ApplianceSettings, *, trust: str = "") -> ssl.SSLContext:
    """Return whom the outer connection may be opened by: `trust`, the system's authorities, and those of the settings.

    Raises OuterTrustUnreadableError.
    """
    try:
        context = tls.outward(trust, more=settings.outer_trust)
    except OSError as fault:  # ssl.SSLError is one
        raise OuterTrustUnreadableError(
            f"{settings.outer_trust} cannot be read as certificates in PEM: {fault.strerror or fault}"
        ) from fault
    # This machine's clock may be wrong by years, and nothing depends on the outer connection but the way.
    context.verify_flags |= tls.NO_CHECK_TIME
    return context
