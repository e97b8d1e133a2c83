"""This file is how what the console remembers is shown: from records to the API's models, no more."""

from datetime import datetime, timedelta
from uuid import UUID

from gateway.console.api import models
from gateway.console.api.models import (
    AuditEntryView,
    ClusterSummary,
    ClusterView,
    CommandView,
    GatewayRemoved,
    GatewayStatus,
    GatewayView,
    RegistrationTokenView,
    TokenState,
)
from gateway.console.records import AuditEntry, Cluster, ForgottenCluster, Gateway, StoredCommand, Token
from gateway.contract.clusters import Machine, MachinePhase
from gateway.identity import words
from gateway.identity.keys import KeyUnreadableError

SILENT = timedelta(seconds=45)
"""A gateway that was not seen for longer is shown as disconnected."""


def gateway(one: Gateway, *, now: datetime) -> GatewayView:
    """Show a gateway."""
    return GatewayView(
        id=one.id,
        name=one.name,
        status=status(one, now=now),
        standing=one.standing,
        conditions=list(one.conditions),
        software=one.software,
        accounts=list(one.accounts),
        paired_at=one.paired_at,
        connected_since=one.connected_since,
        last_seen_at=one.last_seen_at,
        certificate_until=one.certificate_until,
        certificate_serial=f"{one.certificate_serial:x}",
        epoch=one.epoch,
        trust_version=one.trust_version,
        fingerprint=_fingerprint(one),
        problem=one.problem,
    )


def _fingerprint(one: Gateway) -> str:
    try:
        return words.fingerprint(one.device_key)
    except KeyUnreadableError:
        return ""


def status(one: Gateway, *, now: datetime) -> GatewayStatus:
    """Tell whether a gateway can be reached."""
    if one.last_seen_at is None:
        return GatewayStatus.NEVER_CONNECTED
    return GatewayStatus.DISCONNECTED if now - one.last_seen_at > SILENT else GatewayStatus.CONNECTED


def audit_entry(one: AuditEntry) -> AuditEntryView:
    """Show an entry of the audit log."""
    return AuditEntryView(
        id=one.id,
        at=one.at,
        actor=one.actor,
        action=one.action,
        gateway=one.gateway,
        target=one.target,
        outcome=one.outcome,
        facts=one.facts,
    )


def removed(name: str, forgotten: list[ForgottenCluster], *, projects: dict[UUID, str]) -> GatewayRemoved:
    """Show what was removed and what is left to do; `projects` are the names of the tenant's projects."""
    message = f"The gateway {name} is removed."
    if forgotten:
        message += (
            f" {len(forgotten)} of its clusters were forgotten; their machines were not touched: "
            "they stay in vCenter, running, and have to be removed there by hand, with the folders that hold them."
        )
    items = [
        models.ForgottenCluster(project=projects[one.project], name=one.name, machines=list(one.machines))
        for one in forgotten
    ]
    return GatewayRemoved(gateway=name, forgotten=items, message=message)


def token(one: Token, *, now: datetime, root_since: datetime | None = None) -> RegistrationTokenView:
    """Show a registration token; `root_since` is since when tokens know the console's present root."""
    return RegistrationTokenView(
        id=one.id,
        gateway=one.gateway_name,
        state=token_state(one, now=now, root_since=root_since),
        author=one.author,
        created_at=one.created_at,
        expires_at=one.expires_at,
        used_at=one.used_at,
        repairs=one.repairs is not None,
        confirm=one.confirm,
        used_by=words.fingerprint(one.used_by) if one.used_by else None,
    )


def token_state(one: Token, *, now: datetime, root_since: datetime | None = None) -> TokenState:
    """Tell what has become of a token."""
    if one.used_at is not None:
        return TokenState.USED
    if one.revoked_at is not None:
        return TokenState.REVOKED
    if now >= one.expires_at:
        return TokenState.EXPIRED
    return TokenState.STALE if root_since is not None and one.created_at < root_since else TokenState.OPEN


def command(one: StoredCommand, *, projects: dict[UUID, str]) -> CommandView:
    """Show a command; `projects` are the names of the tenant's projects."""
    return CommandView(
        id=one.id,
        kind=one.command.task.kind,
        state=one.state,
        gateway=one.gateway_name,
        project=projects.get(one.project) if one.project else None,
        cluster=one.cluster_name,
        author=one.command.author,
        created_at=one.command.created_at,
        accepted_at=one.accepted_at,
        began_at=one.began_at,
        ended_at=one.ended_at,
        problem=one.problem,
        inventory=one.inventory,
        plan=one.plan,
    )


def summary(one: Cluster, machines: list[Machine], *, project: str) -> ClusterSummary:
    """Show a cluster in a list."""
    return ClusterSummary(
        id=one.id,
        project=project,
        name=one.name,
        gateway=one.spec.gateway,
        phase=one.phase,
        machines_wished=sum(pool.count for pool in one.spec.pools),
        machines_prepared=sum(machine.phase is MachinePhase.PREPARED for machine in machines),
        problem=one.problem,
        created_at=one.created_at,
        updated_at=one.updated_at,
    )


def cluster(one: Cluster, machines: list[Machine], last: CommandView | None, *, project: str) -> ClusterView:
    """Show a cluster with everything known of it."""
    short = summary(one, machines, project=project)
    return ClusterView(**dict(short), spec=one.spec, machines=machines, last_command=last)
