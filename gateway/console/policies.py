"""This file is what the console has to do with the policies of sites: it is told their hashes, proposes, and tightens.

A proposal is nothing until the site accepts it, and a tightening narrows only. Neither needs this console's good will:
the appliance judges every command by its own policy first.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import structlog

from gateway.console.admission import refuse_unless_as_let_in
from gateway.console.bells import Bells
from gateway.console.records import Gateway
from gateway.console.store import audit, gateways, policies
from gateway.console.store.database import Store
from gateway.console.store.policies import Proposed, SitePolicy
from gateway.console.store.scope import Scope
from gateway.contract import documents
from gateway.contract.documents import DocumentError, Kind
from gateway.contract.policy import (
    POLICY_LIMIT,
    Policy,
    PolicyProposed,
    PolicyStanding,
    PolicyTightened,
    Tightening,
    policy_digest,
    tightening_digest,
)
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

KIND = Kind("policy", "docs/policy.md")

log = structlog.get_logger(__name__)


class ProposalInvalidError(GatewayError):
    """What is proposed is no policy."""

    code = "policy.proposal_invalid"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class Told:
    """What a gateway was told on one connection: the digests of proposal and tightening, or nothing yet."""

    proposal: str | None = ""
    tightening: str | None = ""


@dataclass(frozen=True, slots=True)
class News:
    """What a gateway is to be told now, and what it was told then."""

    messages: list[PolicyProposed | PolicyTightened]
    told: Told


class Policies:
    """The policies of every gateway's site: for people at the console, and for the connections of gateways."""

    def __init__(self, store: Store, bells: Bells, *, clock: Clock) -> None:
        self._store = store
        self._bells = bells
        self._clock = clock

    async def of(self, scope: Scope, gateway: str) -> tuple[Gateway, SitePolicy]:
        """Return a gateway and what is known of its site's policy. Raises GatewayUnknownError."""
        async with self._store.reading(scope) as rows:
            found = await gateways.named(rows, gateway)
            return found, await policies.of(rows, found.id)

    async def propose(self, scope: Scope, gateway: str, text: str | None, *, author: str) -> tuple[Gateway, SitePolicy]:
        """Propose a policy, or take the proposal back. Raises GatewayUnknownError or ProposalInvalidError."""
        if text is not None:
            _check(text)
        proposed = None if text is None else Proposed(text, author, self._clock.now())
        wish = _Wish("policy.propose", author, None if text is None else policy_digest(text))
        return await self._wished(scope, gateway, wish, lambda known: replace(known, proposed=proposed))

    async def tighten(
        self, scope: Scope, gateway: str, tightening: Tightening | None, *, author: str
    ) -> tuple[Gateway, SitePolicy]:
        """Narrow what may be done, or end that. Raises GatewayUnknownError."""
        by = None if tightening is None else author
        wish = _Wish("policy.tighten", author, None if tightening is None else tightening_digest(tightening))
        change = partial(replace, tightening=tightening, tightened_by=by)
        return await self._wished(scope, gateway, wish, change)

    async def heard(self, gateway: Gateway, standing: PolicyStanding | None) -> None:
        """Take in what a gateway says of its policy. A proposal that has become the policy is one no longer."""
        if standing is None:
            return
        scope = Scope(gateway.tenant)
        async with self._store.reading(scope) as rows:
            known = await policies.of(rows, gateway.id)
        if _after(known, standing) == known:
            return
        async with self._store.writing(scope) as rows:
            held = await gateways.held(rows, gateway.id)
            refuse_unless_as_let_in(gateway, held)
            known = await policies.of(rows, held.id)
            await policies.keep(rows, held.id, _after(known, standing))
        if known.standing is None or known.standing.sha256 != standing.sha256:
            log.info("policy of a site", gateway=gateway.name, profile=standing.profile, sha256=standing.sha256)

    async def news(self, gateway: Gateway, told: Told) -> News:
        """Return what a gateway is to be told: what it does not say itself, once a connection."""
        async with self._store.reading(Scope(gateway.tenant)) as rows:
            known = await policies.of(rows, gateway.id)
        messages: list[PolicyProposed | PolicyTightened] = []
        standing = known.standing
        if standing is None:  # it has never heard of policies
            return News(messages, told)
        proposal = None if known.proposed is None else policy_digest(known.proposed.text)
        tightening = None if known.tightening is None else tightening_digest(known.tightening)
        if proposal not in {standing.proposal, told.proposal}:
            author = known.proposed.author if known.proposed else "console"
            messages.append(PolicyProposed(policy=known.proposed.text if known.proposed else None, author=author))
        if tightening not in {standing.tightening, told.tightening}:
            messages.append(PolicyTightened(tightening=known.tightening))
        return News(messages, Told(proposal, tightening))

    async def _wished(
        self, scope: Scope, gateway: str, wish: "_Wish", change: Callable[[SitePolicy], SitePolicy]
    ) -> tuple[Gateway, SitePolicy]:
        now = self._clock.now()
        async with self._store.writing(scope) as rows:
            held = await gateways.held(rows, (await gateways.named(rows, gateway)).id)
            changed = change(await policies.of(rows, held.id))
            await policies.keep(rows, held.id, changed)
            await audit.note(rows, wish.action, actor=wish.author, now=now, gateway=gateway, sha256=wish.sha256)
        self._bells.ring(held.id)
        return held, changed


@dataclass(frozen=True, slots=True)
class _Wish:
    """What somebody wishes of a site's policy, for the audit log."""

    action: str
    author: str
    sha256: str | None


def _after(known: SitePolicy, standing: PolicyStanding) -> SitePolicy:
    is_in_force = known.proposed is not None and policy_digest(known.proposed.text) == standing.sha256
    return replace(known, standing=standing, proposed=None if is_in_force else known.proposed)


def _check(text: str) -> None:
    content = text.encode()
    if len(content) > POLICY_LIMIT:
        raise ProposalInvalidError(f"the policy is over {POLICY_LIMIT // 1024} KiB")
    try:
        documents.parse(content, Policy, name="policy", kind=KIND)
    except DocumentError as fault:
        raise ProposalInvalidError(fault.message) from fault
