"""This file is what appliance and console say to each other on the command WebSocket.

::

    appliance                                   console
        | -- hello --------------------------------> |   who I am, what I speak, the next event's number
        | -- leaving -------------------------------> |   instead: the site ends the pairing (version 3)
        | <------------------------------- welcome -- |   what we both speak, the last event you know
        | <------------------------------- deliver -- |   a command, until accepted or rejected
        | -- accepted | rejected ------------------> |   said after it is on the appliance's disk
        | -- deferred ------------------------------> |   not now; it is the console's still (version 3)
        | -- report --------------------------------> |   numbered events, until acknowledged
        | <--------------------------- acknowledge -- |   said after they are on the console's disk
        | -- offers --------------------------------> |   what is here to be used, when that has changed (version 2)
        | -- renew ---------------------------------> |   the next certificate, please (version 3)
        | <-------------- renewed | renewal refused -- |
        | <--------------------------------- trust -- |   whom to trust as the console, when that has changed
        | -- trust kept ----------------------------> |   said after it is on the appliance's disk
        | <------------------------------ accounts -- |   the cloud accounts that are sealed to the gateway
        | -- resealed ------------------------------> |   a new key to seal to
        | <-------------------------- command keys -- |   by which key commands are signed, when that has changed
        | <-------------------------- lane resumed -- |   a person has seen to why nothing new was taken
        | <-- policy proposed, policy tightened ----- |   another policy, for the site's yes; less than it allows
"""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints, TypeAdapter

from gateway.contract.accounts import Resealed, SealedAccounts, SealingKey
from gateway.contract.events import Event
from gateway.contract.identity import Hardware, Renew, RenewalRefused, Renewed
from gateway.contract.policy import Approval, PolicyProposed, PolicyStanding, PolicyTightened
from gateway.contract.problems import Problem
from gateway.contract.shapes import Report
from gateway.contract.signing import CommandKey, CommandKeys, Envelope, Halt, LaneResumed
from gateway.contract.streams import OfferedTarget
from gateway.contract.trust import LATEST_VERSION, Digest, Grounds, Signature, TrustBundle

MESSAGE_LIMIT = 256 * 1024
"""Bytes of the largest message; a larger one ends the connection."""

REPORT_EVENTS = 100
"""Events in one report message, at most."""

MOST_ACCOUNTS = 1000
MOST_TARGETS = 1000
MOST_OPEN = 1000
MOST_APPROVALS = 50
MOST_SEQ = 2**40
"""The highest number that a command may have."""

LATEST_EVENT = 2**53 - 1
LATEST_EPOCH = 2**31 - 1

GrantKeyText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""An Ed25519 public key, base64url."""


class Hello(Report):
    """The appliance's first message."""

    type: Literal["hello"] = "hello"
    protocol: int = Field(ge=1, description="highest protocol version spoken")
    software: str = Field(max_length=100, description="version of the appliance")
    boot_id: UUID = Field(description="new at each start of the appliance")
    accounts: list[str] = Field(
        default_factory=list, max_length=MOST_ACCOUNTS, description="names of its cloud accounts"
    )
    targets: list[OfferedTarget] = Field(
        default_factory=list, max_length=MOST_TARGETS, description="what streams may be opened to, since version 2"
    )
    next_event: int = Field(ge=1, le=LATEST_EVENT, description="number the next new event will have")
    epoch: int = Field(
        default=1, ge=1, le=LATEST_EPOCH, description="the epoch the appliance was last told, since version 3"
    )
    open_commands: list[UUID] = Field(
        default_factory=list, max_length=MOST_OPEN, description="commands in its journal that have not ended"
    )
    hardware: Hardware = Field(default_factory=Hardware)
    trust_version: int = Field(
        default=0, ge=0, le=LATEST_VERSION, description="version of the trust bundle it keeps; 0 for none"
    )
    sealing_key: SealingKey | None = Field(default=None, description="what credentials are sealed to")
    policy: PolicyStanding | None = Field(default=None, description="by what the site judges commands")
    command_key: CommandKey | None = Field(default=None, description="the key by which it knows the console's commands")
    last_seq: int = Field(default=0, ge=0, le=MOST_SEQ, description="highest number of a signed command that it knows")
    acknowledged: int = Field(default=0, ge=0, description="last event that the console was known to have, since 3")
    halted: Halt | None = Field(default=None, description="why nothing new is taken, if that is so")


class Leaving(Report):
    """The appliance's only message, in place of a hello: the site ends the pairing. Since version 3."""

    type: Literal["leaving"] = "leaving"
    signature: Signature | None = Field(default=None, description="by the device key, over the gateway's id; DER")


class Welcome(Report):
    """The console's first message."""

    type: Literal["welcome"] = "welcome"
    protocol: int = Field(ge=1, description="version both will speak")
    server_time: AwareDatetime
    acknowledged: int = Field(ge=0, description="number of the last event the console has on disk")
    grant_key: GrantKeyText | None = Field(
        default=None, description="public key of the grants that streams come with, since version 2"
    )
    latch: Digest | None = Field(default=None, description="what data sessions show, 32 bytes; since version 3")
    epoch: int = Field(
        default=1,
        ge=1,
        description="higher than the appliance's when the console found it put back to an older state: it then goes "
        "on counting behind `acknowledged`, and drops `ended_commands`; since version 3",
    )
    ended_commands: list[UUID] = Field(
        default_factory=list, max_length=MOST_OPEN, description="of the appliance's open commands, those that are over"
    )
    trust: TrustBundle | None = Field(default=None, description="when the appliance's is another")
    grounds: Grounds = Field(default_factory=Grounds, description="on which `trust` may be believed")
    command_keys: CommandKeys | None = Field(default=None, description="when the appliance's command key is another")
    last_seq: int | None = Field(default=None, ge=0, description="number of the newest command for this gateway")
    unknown_commands: list[UUID] = Field(
        default_factory=list, max_length=MOST_OPEN, description="of the open commands, those the console does not know"
    )


class Deliver(Report):
    """A command. It is parsed by itself, so that a bad one is rejected and does not end the connection."""

    type: Literal["deliver"] = "deliver"
    command_id: UUID
    command: dict[str, Any]
    envelope: Envelope | None = Field(default=None, description="the console's signature, since version 3")
    approvals: list[Approval] = Field(
        default_factory=list, max_length=MOST_APPROVALS, description="words of the site's own keys that it may be done"
    )


class Accepted(Report):
    """The command is in the appliance's journal and will be carried out."""

    type: Literal["accepted"] = "accepted"
    command_id: UUID


class Rejected(Report):
    """The command will never be carried out."""

    type: Literal["rejected"] = "rejected"
    command_id: UUID
    problem: Problem


class Deferred(Report):
    """The command cannot be taken now; it stays the console's, which sends it again later. Since version 3."""

    type: Literal["deferred"] = "deferred"
    command_id: UUID
    problem: Problem = Field(description="why, for whoever looks at the gateway")


class ReportEvents(Report):
    """Events in the order of their numbers."""

    type: Literal["report"] = "report"
    events: list[Event] = Field(min_length=1, max_length=REPORT_EVENTS)


class Offers(Report):
    """What the appliance has to offer has changed: all of it, whole. Sent to a console that speaks version 2."""

    type: Literal["offers"] = "offers"
    accounts: list[str] = Field(max_length=MOST_ACCOUNTS)
    targets: list[OfferedTarget] = Field(max_length=MOST_TARGETS)
    policy: PolicyStanding | None = None
    halted: Halt | None = None


class Trust(Report):
    """Whom to trust as the console has changed."""

    type: Literal["trust"] = "trust"
    trust: TrustBundle
    grounds: Grounds = Field(default_factory=Grounds)


class TrustKept(Report):
    """The bundle of that version is on the appliance's disk."""

    type: Literal["trust_kept"] = "trust_kept"
    version: int = Field(ge=1, le=LATEST_VERSION)


class Acknowledge(Report):
    """Every event up to this number is on the console's disk."""

    type: Literal["acknowledge"] = "acknowledge"
    number: int = Field(ge=0)


FromAppliance = Annotated[
    Hello | Leaving | Accepted | Rejected | Deferred | ReportEvents | Offers | Renew | TrustKept | Resealed,
    Field(discriminator="type"),
]
FromConsole = Annotated[
    Welcome
    | Deliver
    | Acknowledge
    | Renewed
    | RenewalRefused
    | Trust
    | SealedAccounts
    | PolicyProposed
    | PolicyTightened
    | CommandKeys
    | LaneResumed,
    Field(discriminator="type"),
]

from_appliance: TypeAdapter[FromAppliance] = TypeAdapter(FromAppliance)
from_console: TypeAdapter[FromConsole] = TypeAdapter(FromConsole)
