"""This file is what the API takes and answers about the policies of sites; never a site's policy itself."""

from pydantic import AwareDatetime, Field

from gateway.contract.policy import POLICY_LIMIT, Digest, Tightening
from gateway.contract.shapes import Report, Wish


class NewProposal(Wish):
    """A policy that a site is asked to take."""

    policy: str = Field(min_length=1, max_length=POLICY_LIMIT, description="the policy file, YAML")


class ProposalView(Report):
    """A policy that was proposed."""

    policy: str
    sha256: Digest = Field(description="what the site gives to accept it")
    author: str
    at: AwareDatetime
    delivered: bool = Field(description="whether the gateway has it; the site may accept it there")


class TighteningView(Report):
    """What the console narrows."""

    tightening: Tightening
    author: str
    in_force: bool = Field(description="whether the gateway judges by it now")


class SitePolicyView(Report):
    """What the console knows of the policy of a gateway's site, and what it wishes of it."""

    gateway: str
    sha256: Digest | None = Field(description="of the policy file; None while nothing is known, or it cannot be read")
    profile: str | None = Field(description="observe, provision, operate, custom, or unreadable")
    paused: bool = Field(description="the site takes no commands for now")
    proposal: ProposalView | None
    tightening: TighteningView | None
