"""This file is the routes of the policies of sites."""

from gateway.console.api import models
from gateway.console.api.models import Nothing
from gateway.console.api.policymodels import NewProposal, ProposalView, SitePolicyView, TighteningView
from gateway.console.api.routes import Call
from gateway.console.records import Gateway
from gateway.console.store.policies import SitePolicy
from gateway.contract.policy import PolicyStanding, Tightening, policy_digest, tightening_digest

OfGateway = models.OneGateway


async def show(call: Call[OfGateway, Nothing, Nothing]) -> SitePolicyView:
    """Show what is known of the policy of a gateway's site."""
    return _shown(*await call.rooms.policies.of(call.scope, call.path.name))


async def propose(call: Call[OfGateway, Nothing, NewProposal]) -> SitePolicyView:
    """Propose a policy, which the site may accept, on its appliance."""
    return _shown(
        *await call.rooms.policies.propose(call.scope, call.path.name, call.body.policy, author=call.caller.user)
    )


async def take_back(call: Call[OfGateway, Nothing, Nothing]) -> SitePolicyView:
    """Take a proposal back."""
    return _shown(*await call.rooms.policies.propose(call.scope, call.path.name, None, author=call.caller.user))


async def tighten(call: Call[OfGateway, Nothing, Tightening]) -> SitePolicyView:
    """Narrow further what may be done at a site."""
    return _shown(*await call.rooms.policies.tighten(call.scope, call.path.name, call.body, author=call.caller.user))


async def end_tightening(call: Call[OfGateway, Nothing, Nothing]) -> SitePolicyView:
    """End a tightening: the site's own policy alone is judged by again."""
    return _shown(*await call.rooms.policies.tighten(call.scope, call.path.name, None, author=call.caller.user))


def _shown(gateway: Gateway, known: SitePolicy) -> SitePolicyView:
    standing = known.standing or PolicyStanding()
    proposal = tightening = None
    if known.proposed is not None:
        sha256 = policy_digest(known.proposed.text)
        proposal = ProposalView(
            policy=known.proposed.text,
            sha256=sha256,
            author=known.proposed.author,
            at=known.proposed.at,
            delivered=standing.proposal == sha256,
        )
    if known.tightening is not None:
        in_force = standing.tightening == tightening_digest(known.tightening)
        tightening = TighteningView(tightening=known.tightening, author=known.tightened_by or "", in_force=in_force)
    return SitePolicyView(
        gateway=gateway.name,
        sha256=standing.sha256,
        profile=standing.profile or None,
        paused=standing.paused,
        proposal=proposal,
        tightening=tightening,
    )
