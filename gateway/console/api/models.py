"""This file is what the HTTP API takes and answers, where it is not a contract model already."""

from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from pydantic import AwareDatetime, Field, field_validator

from gateway.console.records import AuditOutcome, CommandState, Standing
from gateway.contract.clusters import ClusterPhase, ClusterSpec, Machine
from gateway.contract.commands import Resource
from gateway.contract.conditions import Condition
from gateway.contract.events import EventBody
from gateway.contract.inventory import Inventory
from gateway.contract.plans import Plan, PlanHash
from gateway.contract.problems import Problem
from gateway.contract.shapes import Name, Report, Wish
from gateway.identity import words

SHORTEST_TOKEN = timedelta(hours=1)
LONGEST_TOKEN = timedelta(days=7)


class Nothing(Wish):
    """No parameters."""


class InProject(Wish):
    """A path below a project."""

    project: Name = Field(description="the project's name")


class OneCluster(InProject):
    """A path to a cluster."""

    name: Name = Field(description="the cluster's name")


class OneProjectCommand(InProject):
    """A path to a command of a project."""

    id: UUID = Field(description="the command's id")


class OneCommand(Wish):
    """A path to a command."""

    id: UUID = Field(description="the command's id")


class OneGateway(Wish):
    """A path to a gateway."""

    name: Name = Field(description="the gateway's name")


class OneToken(Wish):
    """A path to a registration token."""

    id: str = Field(pattern=r"^[0-9a-f]{20}$", description="the token's id")


class Health(Report):
    """The console is up."""

    status: str = Field(description="always ok", examples=["ok"])
    version: str = Field(description="the console's version")


class WhoAmI(Report):
    """Who an API key belongs to."""

    tenant: Name
    user: str
    key: str = Field(description="the name of the key")
    projects: list[Name] = Field(description="projects the key may use")
    version: str = Field(description="the console's version")


class NewRepairToken(Wish):
    """A registration token to be made for a gateway that is there."""

    hours: int = Field(
        default=24,
        ge=int(SHORTEST_TOKEN / timedelta(hours=1)),
        le=int(LONGEST_TOKEN / timedelta(hours=1)),
        description="how long the token may be used, in hours: from one hour to seven days",
    )
    confirm: bool = Field(default=False, description="have a person compare fingerprints before the gateway may work")


class NewRegistrationToken(NewRepairToken):
    """A registration token to be made."""

    gateway: Name = Field(description="the name that the gateway will have")


class WordsRead(Wish):
    """What a person has read on an appliance."""

    words: str = Field(max_length=200, description="the six words of the fingerprint; case and spaces do not matter")

    @field_validator("words")
    @classmethod
    def _are_a_fingerprint(cls, value: str) -> str:
        # What cannot be anybody's fingerprint is a slip of the hand: no reason to raise an alert.
        if not words.are_whole(value):
            raise ValueError("a fingerprint has six words of five letters: read all of them on the appliance")
        return value


class TokenState(StrEnum):
    """What has become of a registration token."""

    OPEN = "open"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"
    STALE = "stale"
    """Nobody can pair with it any more: it knows only a root that is the console's no more."""


class RegistrationTokenView(Report):
    """A registration token, without its secret."""

    id: str
    gateway: Name = Field(description="the name that the gateway has, or will have")
    state: TokenState
    author: str = Field(description="who made it")
    created_at: AwareDatetime
    expires_at: AwareDatetime
    used_at: AwareDatetime | None = None
    repairs: bool = Field(default=False, description="whether it pairs a gateway anew that is there already")
    confirm: bool = Field(default=False, description="whether a person has to compare fingerprints first")
    used_by: str | None = Field(default=None, description="six words: the fingerprint of the device that used it")


class FreshRegistrationToken(RegistrationTokenView):
    """A registration token that was just made."""

    token: str = Field(description="the token itself; it is shown only now")


class RegistrationTokens(Report):
    """Registration tokens, the newest first."""

    items: list[RegistrationTokenView]


class GatewayStatus(StrEnum):
    """Whether a gateway can be reached."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    NEVER_CONNECTED = "never-connected"


class GatewayView(Report):
    """A paired gateway."""

    id: UUID
    name: Name
    status: GatewayStatus
    standing: Standing = Field(default=Standing.ACTIVE, description="what the console lets it do")
    conditions: list[Condition] = Field(default_factory=list, description="what is the matter, and what to do about it")
    software: str | None = Field(default=None, description="the appliance's version")
    accounts: list[str] = Field(default_factory=list, description="names of the cloud accounts it knows")
    paired_at: AwareDatetime
    connected_since: AwareDatetime | None = None
    last_seen_at: AwareDatetime | None = None
    certificate_until: AwareDatetime = Field(description="when its certificate ends")
    certificate_serial: str = Field(default="", description="its certificate's serial number, hexadecimal")
    epoch: int = Field(default=1, description="grows by one when it is put back to an older state")
    trust_version: int = Field(default=0, description="which trust bundle it keeps; 0 for none")
    fingerprint: str = Field(default="", description="six words that the appliance shows too: its device key's")
    problem: Problem | None = Field(default=None, description="why its last connection was refused")


class Gateways(Report):
    """Gateways by name."""

    items: list[GatewayView]


class RevokeGateway(Wish):
    """Why a gateway is revoked."""

    reason: str = Field(default="", max_length=200, description="for whoever looks at it later")


class TargetView(Report):
    """Something that streams may be opened to; where it is, only the appliance knows."""

    name: Name
    kind: Name = Field(description="tcp, vcenter, kubernetes or ssh; a newer appliance may know more")


class Targets(Report):
    """What a gateway offers streams to."""

    gateway: Name
    reachable: bool = Field(description="whether a stream could be opened now")
    items: list[TargetView]


class ListAudit(Wish):
    """Which entries of the audit log, and how many."""

    gateway: Name | None = Field(default=None, description="only what concerns the gateway of this name")
    action: str | None = Field(
        default=None, pattern=r"^[a-z]+(\.[a-z-]+)+$", max_length=60, description="only this action, as tunnel.stream"
    )
    before: UUID | None = Field(default=None, description="only entries older than this one, for the next page")
    limit: int = Field(default=100, ge=1, le=1000, description="how many entries at most")


class AuditEntryView(Report):
    """Who did what, to what, and what became of it."""

    id: UUID
    at: AwareDatetime
    actor: str = Field(description="the user whose key was used")
    action: str = Field(examples=["tunnel.stream"])
    gateway: str | None = None
    target: str | None = None
    outcome: AuditOutcome = Field(description="began is written first; ended or refused follows, unless it was cut")
    facts: dict[str, str | int | float | None] = Field(description="what else is known, such as bytes and seconds")


class AuditEntries(Report):
    """Entries of the audit log, the newest first."""

    items: list[AuditEntryView]


class RemoveGateway(Wish):
    """How a gateway is removed."""

    forget: bool = Field(
        default=False,
        description="also forget the clusters behind it, for a gateway that is lost: their machines stay in vCenter "
        "and have to be removed there by hand",
    )


class ForgottenCluster(Report):
    """A cluster that was forgotten together with its gateway."""

    project: Name
    name: Name
    machines: list[str] = Field(description="the machines last known of, by the names they have in vCenter")


class GatewayRemoved(Report):
    """What was removed, and what is left to be done by hand."""

    gateway: Name
    forgotten: list[ForgottenCluster] = Field(description="the clusters forgotten with it")
    message: str = Field(description="what has become of things, in a sentence or two")


class BoundToPlan(Wish):
    """Which plan was approved."""

    plan: PlanHash | None = Field(
        default=None,
        description="nothing is changed unless the plan made when the command begins has this hash; without, any plan",
    )


class CommandView(Report):
    """A command and what has become of it."""

    id: UUID
    kind: str = Field(examples=["cluster.apply"])
    state: CommandState
    gateway: Name
    project: Name | None = Field(default=None, description="none for a command that concerns a gateway only")
    cluster: Name | None = None
    author: str
    created_at: AwareDatetime
    accepted_at: AwareDatetime | None = None
    began_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    problem: Problem | None = Field(default=None, description="why it did not succeed")
    inventory: Inventory | None = Field(default=None, description="the result of inventory.read")
    plan: Plan | None = Field(default=None, description="what it does, or would do: planned before anything is done")


class ClusterSummary(Report):
    """A cluster in a list."""

    id: UUID
    project: Name
    name: Name
    gateway: Name
    phase: ClusterPhase
    machines_wished: int = Field(description="how many machines it should have")
    machines_prepared: int = Field(description="how many of its machines are prepared")
    problem: Problem | None = Field(default=None, description="why the last change did not succeed")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class ClusterView(ClusterSummary):
    """A cluster with everything known of it."""

    spec: ClusterSpec
    machines: list[Machine]
    last_command: CommandView | None = None


class Clusters(Report):
    """The clusters of a project by name."""

    items: list[ClusterSummary]


class ClusterWished(Report):
    """What became of a wish for a cluster."""

    command: CommandView = Field(description="the command that brings it about")
    cluster: ClusterView | None = Field(
        default=None, description="none when the cluster is gone at once, for no gateway had heard of it"
    )


class ReadInventoryOf(Wish):
    """Whose inventory to read."""

    account: Name = Field(description="cloud account, by the name the gateway knows it by")


class Pause(Wish):
    """What a gateway begins nothing new of, or begins again."""

    on: Resource | None = Field(default=None, description="the only resource; everything when left out")


class WatchEvents(Wish):
    """Which events to watch, and from where."""

    after: int = Field(
        default=0, ge=0, le=2**63 - 1, description="begin after this position; the header Last-Event-ID goes before it"
    )
    cluster: Name | None = Field(default=None, description="only events of the cluster of this name")
    command: UUID | None = Field(default=None, description="only events of this command")


class WatchedEvent(Report):
    """One event of a watch: the data of a server-sent event, whose id is the position."""

    position: int = Field(description="where the watch resumes after it")
    at: AwareDatetime = Field(description="by the clock of who reported it")
    gateway: Name
    cluster: Name | None = None
    command_id: UUID
    number: int | None = Field(default=None, description="the gateway's own number; none when the console says it")
    body: EventBody
