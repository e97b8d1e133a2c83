"""This file is what people see: tables and live pictures; programs get JSON instead.

Every cell is a Text made by `_cell`: what comes from elsewhere is never read as rich's markup and never reaches the
terminal as it came.
"""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.cli.inspecting import Inspected
from gateway.cli.plain import plain, size
from gateway.cli.progress import ClusterProgress, Progress
from gateway.console.api.accountmodels import GatewayAccounts
from gateway.console.api.models import (
    AuditEntryView,
    ClusterSummary,
    ClusterView,
    GatewayRemoved,
    GatewayView,
    RegistrationTokenView,
    Targets,
)
from gateway.contract.clusters import Machine
from gateway.contract.inventory import Inventory
from gateway.contract.plans import Capacity, Difference, Effect, Plan, PlannedStep
from gateway.kit import moments

GOOD = {"active", "ended", "ready", "prepared", "connected", "succeeded", "open"}
WHOLE = {"MACHINE", "NAME", "ADDRESS", "ID", "PHASE", "AT (UTC)", "IN", "OUT", "SECONDS", "CONDITION", "SINCE"}
"""Columns that are never broken or cut for want of room."""
MARKS = {Effect.ADD: ("+", "green"), Effect.CHANGE: ("~", "yellow"), Effect.REMOVE: ("-", "red")}
ANEW = ("-/+", "red")
BAD = {"failed", "shut", "refused", "disconnected", "revoked", "expired", "stale", "rejected", "quarantined"}


GIB = 1024
"""MiB in a GiB."""


class Output(StrEnum):
    """For whom something is written."""

    TABLE = "table"
    JSON = "json"


WIDEST = 100_000
"""Columns of what is no terminal: a line is never wrapped or cut there, so that it can be searched."""


def screen() -> Console:
    """Return the console on standard output; without a terminal it writes plain text as wide as it needs."""
    if sys.stdout.isatty():
        return Console(markup=False, emoji=False, highlight=False)
    return Console(width=WIDEST, color_system=None, force_terminal=False, markup=False, emoji=False, highlight=False)


def show(document: BaseModel, picture: RenderableType, output: Output) -> None:
    """Write a document: as it is for programs, as `picture` for people."""
    if output is Output.JSON:
        sys.stdout.write(document.model_dump_json(indent=2, ensure_ascii=True) + "\n")
    else:
        screen().print(picture)


def show_last(document: BaseModel, picture: RenderableType, output: Output) -> None:
    """Write what comes after events: as one line for programs, as `picture` for people."""
    if output is Output.JSON:
        sys.stdout.write(document.model_dump_json(ensure_ascii=True) + "\n")
    else:
        screen().print(picture)


def clusters(items: Iterable[ClusterSummary]) -> Table:
    """Return clusters as a table."""
    table = _table("NAME", "GATEWAY", "PHASE", "MACHINES", "CHANGED", "PROBLEM")
    for one in items:
        machines = f"{one.machines_prepared}/{one.machines_wished}"
        problem = one.problem.message if one.problem else ""
        _row(table, one.name, one.gateway, _state(one.phase), machines, _moment(one.updated_at), problem)
    return table


def cluster(one: ClusterView) -> Group:
    """Return everything known of a cluster."""
    head = _pairs(
        ("Cluster", f"{one.name} in project {one.project}"),
        ("Id", str(one.id)),
        ("Gateway", one.gateway),
        ("Phase", _state(one.phase)),
        ("Placement", f"account {one.spec.cloud.account}, template {one.spec.cloud.template}"),
        ("Changed", _moment(one.updated_at)),
        ("Problem", f"{one.problem.message} [{one.problem.code}]" if one.problem else ""),
    )
    return Group(head, Text(), machines(one.machines))


def machines(items: Iterable[Machine]) -> Table:
    """Return machines as a table, with what Ansible found on them."""
    table = _table("MACHINE", "POOL", "PHASE", "ADDRESS", "CPUS", "MEMORY", "OS", "RUNTIME", "TIME SYNC")
    for one in sorted(items, key=lambda machine: (machine.role or "", machine.pool, machine.ordinal)):
        facts = one.facts
        known = (
            (str(facts.cpus or ""), f"{facts.memory_mib} MiB", facts.os, facts.container_runtime, facts.time_sync)
            if facts
            else ("", "", "", "", "")
        )
        _row(table, one.name, one.pool, _state(one.phase), one.address or "", *(cell or "" for cell in known))
    return table


def gateways(items: Iterable[GatewayView]) -> Table:
    """Return gateways as a table."""
    table = _table("NAME", "STATUS", "STANDING", "ACCOUNTS", "VERSION", "LAST SEEN", "PROBLEM")
    for one in items:
        seen = _moment(one.last_seen_at) if one.last_seen_at else "never"
        problem = one.problem.message if one.problem else ", ".join(about.type for about in one.conditions)
        states = (_state(one.status), _state(one.standing))
        _row(table, one.name, *states, ", ".join(one.accounts), one.software or "", seen, problem)
    return table


def gateway(one: GatewayView) -> Group:
    """Return who a gateway is, what it may do, and what is the matter with it."""
    head = _pairs(
        ("Gateway", one.name),
        ("Id", str(one.id)),
        ("Status", _state(one.status)),
        ("Standing", _state(one.standing)),
        ("Fingerprint", one.fingerprint),
        ("Certificate", f"{one.certificate_serial} until {_moment(one.certificate_until)}"),
        ("Epoch", str(one.epoch)),
        ("Trust bundle", str(one.trust_version or "none")),
        ("Version", one.software or ""),
        ("Last seen", _moment(one.last_seen_at) if one.last_seen_at else "never"),
        ("Problem", f"{one.problem.message} [{one.problem.code}]" if one.problem else ""),
    )
    if not one.conditions:
        return Group(head)
    table = _table("CONDITION", "SINCE", "WHAT IS THE CASE", "WHAT TO DO")
    for about in one.conditions:
        _row(table, about.type, _moment(about.since), about.message, about.remedy)
    return Group(head, Text(), table)


class AccountsOfGateways(BaseModel):
    """The sealed accounts of several gateways."""

    gateways: list[GatewayAccounts]


def accounts(found: Iterable[GatewayAccounts]) -> Table:
    """Return sealed accounts as a table."""
    table = _table("GATEWAY", "NAME", "KIND", "STATE", "VERSION", "SEALED BY", "CHANGED")
    for gateway in found:
        for one in gateway.items:
            state = (
                "delivered" if one.delivered and one.opens else "waiting" if one.opens or gateway.rotating else "shut"
            )
            cells = (_state(state), str(one.version), one.author, _moment(one.updated_at))
            _row(table, gateway.gateway, one.name, one.kind, *cells)
    return table


def removed(one: GatewayRemoved) -> Group:
    """Return what was removed with a gateway, and which machines are left in vCenter."""
    if not one.forgotten:
        return Group(Text(plain(one.message)))
    table = _table("PROJECT", "CLUSTER", "MACHINES LEFT IN VCENTER")
    for lost in one.forgotten:
        _row(table, lost.project, lost.name, ", ".join(lost.machines))
    return Group(Text(plain(one.message)), Text(), table)


def tokens(items: Iterable[RegistrationTokenView]) -> Table:
    """Return registration tokens as a table; their secrets are in none."""
    table = _table("ID", "GATEWAY", "FOR", "STATE", "MADE BY", "EXPIRES")
    for one in items:
        wanted = "pairing anew" if one.repairs else "pairing"
        row = (wanted + (", with confirmation" if one.confirm else ""), _state(one.state))
        _row(table, one.id, one.gateway, *row, one.author, _moment(one.expires_at))
    return table


def inspected(one: Inspected) -> Table:
    """Return what a registration token says, but for its secret."""
    over = " (over, by this machine's clock)" if one.expired else ""
    wanted = "a gateway that is there already, to be paired anew in its place" if one.repairs else "a new gateway"
    pins = [("authority", pin) for pin in one.pins]
    until = ("until", f"{_moment(one.expires_at)}{over}")
    return _pairs(("id", one.id), ("console", one.console), *pins, until, ("for", wanted))


def targets(one: Targets) -> Group:
    """Return what a gateway offers streams to."""
    table = _table("NAME", "KIND")
    for target in one.items:
        _row(table, target.name, target.kind)
    if one.reachable:
        return Group(table)
    return Group(table, Text(plain(f"{one.gateway} keeps no road for streams now: see whether it is connected")))


def audit(items: Sequence[AuditEntryView], *, older: str | None = None) -> Group:
    """Return the audit log as a table, one line an entry; `older` is the command that shows the next page."""
    table = _table("AT (UTC)", "WHO", "GATEWAY/TARGET", "OUTCOME", "IN", "OUT", "SECONDS")
    for one in items:
        where = "/".join(name for name in (one.gateway, one.target) if name)
        outcome = _state(one.outcome)
        if code := one.facts.get("code"):
            outcome.append(plain(f" {code}"))
        counts = (_amount(one.facts.get("received")), _amount(one.facts.get("sent")))
        row = (
            f"{one.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            one.actor,
            where,
            outcome,
            *counts,
            _seconds(one.facts.get("seconds")),
        )
        table.add_row(*(_one_line(cell) for cell in row))
    return Group(table, Text(plain(f"older: {older}"), style="dim")) if older else Group(table)


def inventory(one: Inventory) -> Table:
    """Return what a cloud account offers."""
    return _pairs(
        ("Cloud", one.product),
        ("Datacenters", ", ".join(one.datacenters)),
        ("Compute clusters", ", ".join(one.compute_clusters)),
        ("Resource pools", ", ".join(one.resource_pools)),
        ("Datastores", ", ".join(f"{store.name} ({store.free_gib:.0f} GiB free)" for store in one.datastores)),
        ("Networks", ", ".join(one.networks)),
        ("Folders", ", ".join(one.folders)),
        ("Templates", ", ".join(template.name for template in one.templates)),
        ("Machines", str(one.machines)),
    )


def plan(one: Plan) -> Group:
    """Return what a plan changes, marked + ~ - and -/+ for what is made anew, and what all of it comes to."""
    table = _table("", "STEP", "CLASS", "WHAT CHANGES")
    for step in one.steps:
        if step.effect is not Effect.NONE:
            mark, style = ANEW if step.rebuilds else MARKS[step.effect]
            _row(table, Text(mark, style=style), step.step, step.kind, _changes(step))
    looks = sum(step.effect is Effect.NONE for step in one.steps)
    untold = f", and {one.left_out} that are not shown" if one.left_out else ""
    rest = Text(f"besides {looks} steps that look, or change nothing{untold}", style="dim")
    summary = Text(plain(plan_summary(one)), style="bold")
    return Group(*([] if one.changes_nothing else [table]), rest, summary, Text(plain(f"Plan {one.sha256}")))


def plan_summary(one: Plan) -> str:
    """Return what a plan comes to, in a line."""
    if one.changes_nothing:
        return f"Cluster {one.cluster}: nothing to change, {one.there} machines are as wished."
    anew = sum(len(step.rebuilds) for step in one.steps)
    parts = [f"{_capacity(one.added)} to add", f"{_capacity(one.removed)} to remove", f"{one.there} stay"]
    return f"Cluster {one.cluster}: {', '.join(parts)}{f'; {anew} of those to add are made anew' if anew else ''}."


def live(title: str, progress: Progress | ClusterProgress) -> Group:
    """Return a command under way: its machines, and what is being done now."""
    doing = _table("DOING", "")
    for step in list(progress.under_way.values())[:20]:
        _row(doing, step.title, step.message)
    return Group(Text(plain(title), style="bold"), machines(progress.machines.values()), Text(), doing)


def _changes(step: PlannedStep) -> str:
    said = [_difference(one) for one in step.changes]
    said += [f"made anew, empty: {name}" for name in step.rebuilds]
    said += [f"destroys {what}" for what in step.destroys]
    return "; ".join(said) or step.title


def _difference(one: Difference) -> str:
    if one.before is None:
        return f"{one.what} {one.after}"
    return f"{one.what} {one.before} -> {'none' if one.after is None else one.after}"


def _capacity(one: Capacity) -> str:
    if one.machines == 0:
        return "no machine"
    machines = "1 machine" if one.machines == 1 else f"{one.machines} machines"
    disk = f"{one.disk_mib / GIB:.1f} GiB disk" if one.disk_mib else "disk not known"
    return f"{machines} ({one.cpus} vCPU, {one.memory_mib / GIB:.1f} GiB memory, {disk})"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column in WHOLE)
    return table


def _row(table: Table, *cells: str | Text) -> None:
    table.add_row(*(_cell(cell) for cell in cells))


def _cell(content: str | Text) -> Text:
    return content if isinstance(content, Text) else Text(plain(content))


def _one_line(content: str | Text) -> Text:
    cell = _cell(content)
    cell.no_wrap, cell.overflow = True, "ellipsis"
    return cell


def _amount(count: object) -> str:
    return size(int(count)) if isinstance(count, (int, float)) else ""


def _seconds(count: object) -> str:
    return f"{count:.1f}" if isinstance(count, (int, float)) else ""


def _pairs(*rows: tuple[str, str | Text]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in rows:
        if value:
            _row(table, name, value)
    return table


def _state(word: str) -> Text:
    return Text(plain(word), style="green" if word in GOOD else "red" if word in BAD else "yellow")


def _moment(when: datetime) -> str:
    return moments.minute(when)
