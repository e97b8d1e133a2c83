"""This file is how the authority stands, as `pcg console ca` shows it: lines for people, one document for programs."""

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.console import ca
from gateway.console.ca import Situation
from gateway.identity.certificates import spki_pin
from gateway.identity.rotation import Phase
from gateway.kit import moments


class Shown(BaseModel):
    """A part of what is shown to programs."""

    model_config = ConfigDict(frozen=True)


class CertificateShown(Shown):
    """One of the console's certificates."""

    what: str
    until: AwareDatetime
    pin: str = Field(description="sha256 of its public key")


class GatewayShown(Shown):
    """A gateway that would be left behind by the next step, or was by the last."""

    tenant: str
    name: str
    trust_version: int
    certificate_until: AwareDatetime


class TokenShown(Shown):
    """An open registration token that does not know the newest root."""

    tenant: str
    id: str
    gateway: str


class AuthorityShown(Shown):
    """Everything that `pcg console ca status` says."""

    phase: Phase
    trust_version: int
    certificates: list[CertificateShown]
    root_key_in_place: bool
    gateways_by_trust_version: dict[int, int]
    behind: list[GatewayShown]
    stale_tokens: list[TokenShown]
    next: str = Field(description="what there is to do next, in words")


def document(found: Situation, *, now: datetime) -> AuthorityShown:
    """Return how things stand, for programs."""
    return AuthorityShown(
        phase=found.authority.state.phase,
        trust_version=found.authority.trust.version,
        certificates=list(_certificates(found)),
        root_key_in_place=found.authority.has_root_key,
        gateways_by_trust_version=found.by_version,
        behind=[
            GatewayShown(
                tenant=one.tenant,
                name=one.name,
                trust_version=one.trust_version,
                certificate_until=one.certificate_until,
            )
            for one in found.behind
        ],
        stale_tokens=[TokenShown(tenant=one.tenant, id=one.id, gateway=one.gateway) for one in found.tokens],
        next=ca.next_step(found, now=now),
    )


def lines(shown: AuthorityShown) -> Iterator[str]:
    """Return the same for people."""
    yield f"{'':12}  {'UNTIL':20}  PIN"
    for one in shown.certificates:
        yield f"{one.what:12}  {moments.minute(one.until)}  {one.pin}"
    if not shown.root_key_in_place:
        yield "The current root's key is not in its place; it is needed to rotate."
    yield f"\nPhase: {shown.phase.value}. Trust bundle: version {shown.trust_version}."
    for version, gateways in shown.gateways_by_trust_version.items():
        which = f"version {version}" if version else "nobody knows which version"
        yield f"  {which} is kept by {gateways} gateway{'' if gateways == 1 else 's'}"
    yield from _stale(shown)
    yield f"Next: {shown.next}"


def _stale(shown: AuthorityShown) -> Iterator[str]:
    is_coming = shown.phase is Phase.HANDED_ON
    ends = "cannot be used after the next step" if is_coming else "cannot be used: make a new one"
    for one in shown.stale_tokens:
        yield f"  the token {one.id} for {one.gateway} knows the former root only, and {ends}"


def _certificates(found: Situation) -> Iterator[CertificateShown]:
    roots = ["current root", "next root" if found.authority.state.phase is Phase.HANDED_ON else "former root"]
    *tops, intermediate = found.authority.chain
    for what, one in [*zip(roots, tops, strict=False), ("intermediate", intermediate)]:
        yield _certificate(what, one)
    if found.own is not None:
        yield _certificate("console", found.own)


def _certificate(what: str, one: x509.Certificate) -> CertificateShown:
    return CertificateShown(what=what, until=one.not_valid_after_utc, pin=f"sha256:{spki_pin(one).hex()}")
