"""This file is what is examined: the console, the road to it, and what is known to compare with."""

import ssl
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from gateway.appliance import outward
from gateway.appliance.doctor.verdicts import May
from gateway.appliance.identity import Identity, NotPairedError
from gateway.appliance.settings import ApplianceSettings
from gateway.identity.tokens import RegistrationToken
from gateway.tunnel.proxies import HttpProxy, ProxyAddress, Socks5
from gateway.tunnel.roads import Road


@dataclass(frozen=True, slots=True)
class Place:
    """A host and a port of the console's."""

    host: str
    port: int
    tunnel: bool = False

    @classmethod
    def of(cls, url: str, *, tunnel: bool = False) -> "Place":
        """Return the place that a URL names; https and wss mean port 443 unless it says otherwise."""
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or 443, tunnel)

    @property
    def text(self) -> str:
        """The place as URLs write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Subject:
    """One console and the way to it. `identity` is there once paired, `trust` or `pins` when a token was given."""

    console: str
    api: Place
    tunnel: Place | None
    road: Road
    may_nest: May
    outer: ssl.SSLContext
    identity: Identity | None = None
    trust: str | None = None
    pins: tuple[bytes, ...] = ()

    @property
    def proxy(self) -> ProxyAddress | None:
        """The proxy that the road leads through."""
        return self.road.address if isinstance(self.road, HttpProxy | Socks5) else None

    @property
    def places(self) -> list[Place]:
        """Where the road has to lead: to the API, and to the tunnel's port unless the tunnel travels nested."""
        return [self.api, *([self.tunnel] if self.tunnel and self.may_nest is not May.ALWAYS else [])]

    def certificate_ends(self) -> datetime:
        """Return when the appliance's certificate ends. Raises NotPairedError when it cannot be read."""
        if self.identity is None:
            raise NotPairedError
        return self.identity.certificate().not_valid_after_utc


def paired(settings: ApplianceSettings) -> Subject:
    """Return the console that the appliance is paired with. Raises NotPairedError, and what a wrong setting raises."""
    identity = Identity(settings.state / "identity")
    known = identity.paired()
    if known is None:
        raise NotPairedError(
            "this appliance is not paired, so there is no console to examine the road to: name one with --console URL "
            "or --token-file FILE"
        )
    tunnel = Place.of(known.tunnel, tunnel=True)
    trust = identity.trust()
    return Subject(
        known.console,
        Place.of(known.console),
        tunnel,
        outward.first_road(settings),
        May(settings.tunnel),
        outward.outer_tls(settings, trust=trust),
        identity,
        trust,
    )


def unpaired(settings: ApplianceSettings, console: str, token: RegistrationToken | None = None) -> Subject:
    """Return a console by its address, and by the token that was made for pairing with it if there is one."""
    return Subject(
        console,
        Place.of(console),
        None,
        outward.first_road(settings),
        May(settings.tunnel),
        outward.outer_tls(settings),
        pins=token.pins if token else (),
    )
