"""This file is `pcg appliance target` and `audit`: how the site says what may be reached, and sees what was.

Only here, on the appliance itself, are targets made; each change is in the audit log, and so is one that was refused.
"""

import json
import os
import pwd
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from gateway.appliance.audit import AuditBrokenError, AuditLog
from gateway.appliance.settings import ApplianceSettings, Caller
from gateway.appliance.targets import Target, TargetInvalidError, Targets
from gateway.audit import lines as auditlines
from gateway.audit.lines import Act, Entry, Fact, Verdict
from gateway.contract.streams import TargetKind
from gateway.kit import files
from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError

target_app = typer.Typer(help="Targets: what streams may be opened to through this appliance.", no_args_is_help=True)


class Output(StrEnum):
    """For whom something is written."""

    TABLE = "table"
    JSON = "json"


StateOption = Annotated[
    Path | None, typer.Option("--state", help="directory of the appliance's state", show_default=False)
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for programs")]
NameArgument = Annotated[str, typer.Argument(help="the target's name")]


@target_app.command("add")
def add_target(
    name: Annotated[str, typer.Argument(help="name that users will call it by")],
    host: Annotated[str, typer.Argument(help="IP address or host name")],
    port: Annotated[int, typer.Argument(help="TCP port")],
    *,
    kind: Annotated[TargetKind, typer.Option("--kind", help="what answers there")] = "tcp",
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="network that its addresses may be in; needed with a host name, may be repeated"),
    ] = None,
    state: StateOption = None,
) -> None:
    """Let streams be opened to a host and port, or replace the target of that name.

    The console is told its name and kind, and nothing else. A running appliance offers it within seconds.
    """
    directory = state_of(state)
    facts: dict[str, Fact] = {"target": name, "host": host, "port": port, "kind": kind, "allow": " ".join(allow or ())}
    with audited(directory, "target.added", facts):
        target = _target(kind=kind, host=host, port=port, allow=tuple(allow or ()))
        targets = Targets(directory / "targets")
        targets.check(name)
    targets.write(name, target)
    typer.echo(f"Target {name} is {host} port {port}; its addresses may be in {_networks(target)}.")


@target_app.command("list")
def list_targets(*, output: OutputOption = Output.TABLE, state: StateOption = None) -> None:
    """List the targets."""
    targets = Targets(state_of(state) / "targets")
    found = [(name, targets.read(name)) for name in targets.names()]
    if output is Output.JSON:
        write_json({"targets": [{"name": name, **one.model_dump(), "allow": _allowed(one)} for name, one in found]})
        return
    rows = [(name, one.kind, one.host, str(one.port), _networks(one)) for name, one in found]
    table(("NAME", "KIND", "HOST", "PORT", "ALLOWED ADDRESSES"), rows)


@target_app.command("remove")
def remove_target(name: NameArgument, *, state: StateOption = None) -> None:
    """Let no more streams be opened to a target. A running appliance cuts those that are open within seconds."""
    directory = state_of(state)
    targets = Targets(directory / "targets")
    with audited(directory, "target.removed", {"target": name}):
        targets.find(name)
    targets.remove(name)
    typer.echo(f"Target {name} is removed.")


def audit(
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="follow the chain and tell whether a line was changed")
    ] = False,
    last: Annotated[int, typer.Option("--last", min=0, help="show so many of the newest lines; 0 for all")] = 50,
    output: OutputOption = Output.TABLE,
    state: StateOption = None,
) -> None:
    """Show the appliance's audit log: which streams were opened or refused, and what was changed here."""
    log = AuditLog(state_of(state), clock=SystemClock())
    verdict = log.verify() if verify else None
    newest = deque(log.lines(), maxlen=last or None)
    entries = [auditlines.parsed(line) for _, line in newest]
    if output is Output.JSON:
        write_json({"entries": [_document(entry) for entry in entries], "verdict": _verdict(verdict)})
    else:
        table(("AT", "ACTION", "OUTCOME", "USER", "TARGET", "FACTS"), [_row(entry) for entry in entries])
    if verdict is None:
        return
    if verdict.broken is not None:
        raise AuditBrokenError(f"the audit log was changed or damaged after it was written: {verdict.broken}")
    if output is Output.TABLE:
        typer.echo(_in_words(verdict))


@contextmanager
def audited(directory: Path, action: str, facts: dict[str, Fact]) -> Iterator[None]:
    """Write that something is done once the body has found that it can be, or that it was refused."""
    log = AuditLog(directory, clock=SystemClock())
    facts = {"user": user_of_machine(), "sudo_user": Caller().sudo_user or None, **facts}
    try:
        yield
    except GatewayError as error:
        log.append([Act(action, "refused", {**facts, "code": error.code, "message": error.message})])
        raise
    log.append([Act(action, "ok", facts)])


def user_of_machine() -> str:
    """Return who runs this, by name or, as in many a container, by number."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _target(**said: object) -> Target:
    try:
        return Target.model_validate(said)
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        raise TargetInvalidError(f"{where}{first['msg']}") from None


def _allowed(target: Target) -> list[str]:
    return [str(network) for network in target.networks]


def _networks(target: Target) -> str:
    return ", ".join(_allowed(target))


def _document(entry: Entry | None) -> dict[str, object] | None:
    if entry is None:
        return None
    return {
        "number": entry.number,
        "at": entry.at,
        "action": entry.act.action,
        "outcome": entry.act.outcome,
        "facts": dict(entry.act.facts),
    }


def _verdict(verdict: Verdict | None) -> dict[str, object] | None:
    if verdict is None:
        return None
    return {
        "lines": verdict.entries,
        "first": verdict.first,
        "last": verdict.last,
        "head": verdict.head,
        "torn": verdict.torn,
        "broken": verdict.broken,
    }


def _in_words(verdict: Verdict) -> str:
    if not verdict.entries:
        return "The audit log is empty."
    torn = f" {verdict.torn} of them torn by a cut, and noted." if verdict.torn else ""
    return (
        f"The chain of {verdict.entries} lines, number {verdict.first} to {verdict.last}, holds.{torn}\n"
        f"Its head is {verdict.head}."
    )


def _row(entry: Entry | None) -> Sequence[str]:
    if entry is None:
        return ("", "(a torn line)")
    facts = dict(entry.act.facts)
    user, target = (str(facts.pop(name, "")) for name in ("user", "target"))
    rest = " ".join(f"{name}={value}" for name, value in sorted(facts.items()))
    return (entry.at[:19], entry.act.action, entry.act.outcome, user, target, rest)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows under their heads, in columns."""
    shown = [[_plain(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip_longest(*shown, fillvalue="")]
    for row in shown:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())


def _plain(text: str) -> str:
    """Return text from elsewhere so that it moves no cursor and turns no words around."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def write_json(document: dict[str, object]) -> None:
    """Write a document for programs."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")


def state_of(given: Path | None) -> Path:
    """Return the state directory, the given one or that of the settings; it is made where there is none."""
    settings = ApplianceSettings() if given is None else ApplianceSettings(state=given)
    return files.make_private_directory(settings.state)
