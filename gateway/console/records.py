"""This file is what the console remembers, as values: the shapes that store, projection and API share."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from gateway.contract.accounts import SealingKey
from gateway.contract.clusters import ClusterPhase, ClusterSpec, Machine
from gateway.contract.commands import Command
from gateway.contract.conditions import Condition
from gateway.contract.events import EventBody
from gateway.contract.inventory import Inventory
from gateway.contract.plans import Plan
from gateway.contract.problems import Problem
from gateway.contract.shapes import Report
from gateway.contract.streams import OfferedTarget
from gateway.contract.trust import Digest, Nonce, Pem


class CommandState(StrEnum):
    """How far a command has come, as the console knows."""

    PENDING = "pending"
    """Remembered; the appliance has not accepted it yet."""
    ACCEPTED = "accepted"
    """In the appliance's journal."""
    RUNNING = "running"
    """Being carried out."""
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    """The appliance would not take it."""
    UNKNOWN = "unknown"
    """It is over, and nobody can tell what of it was done: it is never sent again by itself."""

    @property
    def has_ended(self) -> bool:
        """Tell whether nothing more will happen to the command."""
        return self not in {CommandState.PENDING, CommandState.ACCEPTED, CommandState.RUNNING}


@dataclass(frozen=True, slots=True)
class Project:
    """A project of a tenant."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as an API key says."""

    tenant: UUID
    tenant_name: str
    user: str
    key_id: str
    key_name: str


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret."""

    id: str
    tenant: UUID
    secret_hash: bytes
    last_used_at: datetime | None
    revoked_at: datetime | None
    caller: Caller


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key as it is listed."""

    id: str
    name: str
    user: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class PairingAnswer(Report):
    """What a token was answered, for who lost the answer: the ticket that went with it is made again, never kept."""

    gateway: UUID
    certificate: Pem
    request: Digest
    join_number: int
    nonces: list[Nonce]
    """Of the challenges that were answered: none of them is answered twice."""


@dataclass(frozen=True, slots=True)
class Token:
    """A registration token without its secret."""

    id: str
    tenant: UUID
    gateway_name: str
    public_key: bytes
    author: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None
    used_by: str | None
    answer: PairingAnswer | None
    repairs: UUID | None = None
    """The gateway that it pairs anew, in its place."""
    confirm: bool = False


class Standing(StrEnum):
    """What the console lets a gateway do."""

    ACTIVE = "active"
    UNCONFIRMED = "unconfirmed"
    """Paired, and waiting for a person who compares fingerprints: it may connect, and do nothing."""
    PAUSED = "paused"
    """Its machine has changed: it may connect, and gets no commands and no streams until a person has looked."""
    QUARANTINED = "quarantined"
    """There are two of it: it may not connect until a person has said which is the right one."""
    REVOKED = "revoked"
    """It may not connect until it is paired anew in its place."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A paired appliance and what it last said of itself."""

    id: UUID
    tenant: UUID
    name: str
    certificate_serial: int
    certificate_until: datetime
    paired_at: datetime
    connected_since: datetime | None
    last_seen_at: datetime | None
    software: str | None
    boot_id: UUID | None
    accounts: tuple[str, ...]
    targets: tuple[OfferedTarget, ...]
    problem: Problem | None
    acknowledged: int
    device_key: str
    standing: Standing
    conditions: tuple[Condition, ...]
    next_serial: int | None
    epoch: int
    system_uuid: UUID | None
    trust_version: int
    sealing_key: SealingKey | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What the last command that changed anything has left behind."""

    spec: ClusterSpec
    phase: ClusterPhase


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster: the wish, and how far it has come."""

    id: UUID
    project: UUID
    gateway: UUID
    name: str
    spec: ClusterSpec
    phase: ClusterPhase
    settled: Settled | None
    problem: Problem | None
    last_command: UUID | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """A command and what became of it. `project` is None for one that concerns a gateway only."""

    id: UUID
    project: UUID | None
    gateway: UUID
    gateway_name: str
    seq: int
    cluster: UUID | None
    cluster_name: str | None
    command: Command
    state: CommandState
    problem: Problem | None
    inventory: Inventory | None
    sent_at: datetime | None
    accepted_at: datetime | None
    began_at: datetime | None
    ended_at: datetime | None
    plan: Plan | None = None
    """What it does, or would do, as the appliance has planned it when it first began."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What a command concerns, without what it says."""

    id: UUID
    project: UUID | None
    cluster: UUID | None
    cluster_name: str | None


@dataclass(frozen=True, slots=True)
class ForgottenCluster:
    """A cluster that was forgotten with its gateway; the machines are those last known of, by name."""

    id: UUID
    project: UUID
    name: str
    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event at its position among all of its tenant; its body is None when it cannot be read any more."""

    position: int
    project: UUID | None
    gateway_name: str
    number: int | None
    command: UUID
    cluster_name: str | None
    body: EventBody | None
    at: datetime


@dataclass(frozen=True, slots=True)
class MachineRow:
    """A machine of a cluster as it was last reported."""

    cluster: UUID
    machine: Machine


class AuditOutcome(StrEnum):
    """What became of something that is audited."""

    BEGAN = "began"
    """Written before anything is done; a console that is killed leaves it without an end."""
    REFUSED = "refused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, to what, and what became of it."""

    id: UUID
    at: datetime
    actor: str
    action: str
    gateway: str | None
    target: str | None
    outcome: AuditOutcome
    facts: dict[str, str | int | float | None]
