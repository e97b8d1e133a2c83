"""This file is what the other side may say, hostile text included, for the command line's tests."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from gateway.console.api.models import (
    AuditEntryView,
    ClusterView,
    CommandView,
    ForgottenCluster,
    GatewayRemoved,
    GatewayStatus,
    GatewayView,
    RegistrationTokenView,
    TokenState,
    WatchedEvent,
)
from gateway.console.records import AuditOutcome, CommandState
from gateway.console.trail import Fact
from gateway.contract.clusters import ClusterPhase, Machine, MachineFacts, MachinePhase
from gateway.contract.events import EventBody
from gateway.contract.inventory import Datastore, Inventory, Template
from gateway.contract.plans import Capacity, Difference, Effect, Plan, PlannedStep, StepClass
from gateway.contract.problems import Problem
from gateway.kit.errors import Remedy
from tests.fakes.console import cluster

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
HOSTILE = "[/x][bold]\x1b[2J\x1b]0;title\x07\x9b31m\x7f\u202eevil\u2066\n12:00:00 demo succeeded\r:smile:"
"""Markup, escape sequences, C1 controls, bidirectional controls, and a line that looks like one of ours."""


def problem(message: str = HOSTILE) -> Problem:
    return Problem(code="some.code", message=message, remedy=Remedy.RETRY)


def machine(name: str = "demo-workers-0", *, text: str = "text", ordinal: int = 0) -> Machine:
    return Machine(
        name=name,
        pool=text[:40],
        ordinal=ordinal,
        instance_uuid=uuid4(),
        phase=MachinePhase.PREPARED,
        address=text[:64],
        facts=MachineFacts(os=text, kernel=text, container_runtime=text, cpus=2, memory_mib=2048, time_sync=text),
    )


def command(state: CommandState = CommandState.RUNNING, *, text: str = "text") -> CommandView:
    return CommandView(
        id=uuid4(),
        kind=text,
        state=state,
        gateway="dc1",
        author=text,
        created_at=NOON,
        ended_at=NOON if state.has_ended else None,
        problem=problem(text),
    )


def view(*, text: str = "text", machines: tuple[Machine, ...] = (), last: CommandView | None = None) -> ClusterView:
    return ClusterView(
        id=uuid4(),
        project="default",
        name="demo",
        gateway="dc1",
        phase=ClusterPhase.FAILED,
        machines_wished=3,
        machines_prepared=1,
        problem=problem(text),
        created_at=NOON,
        updated_at=NOON,
        spec=cluster(),
        machines=list(machines),
        last_command=last,
    )


def gateway(status: GatewayStatus = GatewayStatus.CONNECTED, *, text: str = "text") -> GatewayView:
    return GatewayView(
        id=uuid4(),
        name="dc1",
        status=status,
        software=text,
        accounts=[text, "lab"],
        paired_at=NOON,
        last_seen_at=None if status is GatewayStatus.NEVER_CONNECTED else NOON,
        certificate_until=NOON,
        problem=problem(text),
    )


def token(*, text: str = "text") -> RegistrationTokenView:
    return RegistrationTokenView(
        id=text, gateway="dc1", state=TokenState.OPEN, author=text, created_at=NOON, expires_at=NOON
    )


def removed(*, text: str = "text") -> GatewayRemoved:
    lost = ForgottenCluster(project="default", name="demo", machines=[text])
    return GatewayRemoved(gateway="dc1", forgotten=[lost], message=text)


def audited(outcome: AuditOutcome = AuditOutcome.ENDED, *, text: str = "text", **facts: Fact) -> AuditEntryView:
    about = {"trace": str(UUID(int=1)), "lane": "auto", "reason": text}
    names = {"actor": text, "gateway": text, "target": text}
    return AuditEntryView(
        id=UUID(int=2), at=NOON, action="tunnel.stream", outcome=outcome, facts={**about, **facts}, **names
    )


def plan(*, text: str = "text") -> Plan:
    """Return a plan that looks, makes one machine, another one anew, and removes a third."""
    size = Difference(what=text[:100], before=None, after=text)
    steps = [
        PlannedStep(step="check", title=text, kind=StepClass.READ),
        PlannedStep(step="a/clone", title=text, kind=StepClass.KEYED, effect=Effect.ADD, changes=[size]),
        PlannedStep(step="b/clone", title=text, kind=StepClass.KEYED, effect=Effect.ADD, rebuilds=[text]),
        PlannedStep(
            step="prepare",
            title=text,
            kind=StepClass.DESIRED_STATE,
            effect=Effect.CHANGE,
            changes=[Difference(what="ntp_servers", before="10.0.0.1", after=None)],
        ),
        PlannedStep(step=text[:200], title=text, kind=StepClass.DESIRED_STATE, effect=Effect.REMOVE, destroys=[text]),
    ]
    return Plan(
        action="apply",
        cluster=text[:40],
        wish="0" * 64,
        place={},
        steps=steps,
        there=3,
        added=Capacity(machines=2, cpus=4, memory_mib=4096, disk_mib=20480),
        removed=Capacity(machines=1, cpus=2, memory_mib=2048),
        sha256=text[:64],
    )


def inventory(*, text: str = "text") -> Inventory:
    return Inventory(
        product=text,
        datacenters=[text],
        compute_clusters=[text],
        resource_pools=[text],
        datastores=[Datastore(name=text, datacenter=text, free_gib=1.0, capacity_gib=2.0)],
        networks=[text, "[dmz] VLAN 12"],
        folders=[text],
        templates=[Template(name=text, datacenter=text)],
    )


def event(body: EventBody, *, of: UUID, position: int = 1, cluster_name: str | None = "demo") -> WatchedEvent:
    at = NOON + timedelta(seconds=position)
    return WatchedEvent(position=position, at=at, gateway="dc1", cluster=cluster_name, command_id=of, body=body)
