"""This file is `pcg appliance policy`, `approve`, `pause` and `lockdown`: how the site says what the console may do.

Only here, on the appliance itself, is a policy changed; each change is in the audit log, also one that was refused.
"""

import json
import threading
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import TypeAdapter, ValidationError

from gateway.appliance.identity import Identity, NotPairedError
from gateway.appliance.lane import HaltFile
from gateway.appliance.lockdown import Lockdown
from gateway.appliance.oversight import (
    Output,
    OutputOption,
    StateOption,
    audited,
    state_of,
    table,
    user_of_machine,
    write_json,
)
from gateway.appliance.policy import book, judging, reading
from gateway.appliance.policy.judging import Outcome, Situation, Verdict
from gateway.appliance.policy.kept import Kept, NoProposalError, Waiting
from gateway.appliance.policy.reading import PolicyInvalidError
from gateway.audit.lines import Fact
from gateway.contract.commands import Command, Task
from gateway.contract.policy import POLICY_LIMIT, Approval, Policy, Profile
from gateway.kit import files
from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError, Remedy
from gateway.kit.files import AlreadyRunningError
from gateway.kit.ids import new_id

policy_app = typer.Typer(help="The policy: what the console may do in this data centre.", no_args_is_help=True)

HELD_LIMIT = 5.0
FileArgument = Annotated[Path | None, typer.Argument(help="the file; left out, the policy in force")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]


class CommandFileError(GatewayError):
    """What should be a command, or an approval of one, is none."""

    code = "policy.file_invalid"
    remedy = Remedy.CALLER


class NotConfirmedError(GatewayError):
    """The question was not answered with yes."""

    code = "appliance.not_confirmed"
    remedy = Remedy.CALLER


class LockdownNotHeldError(GatewayError):
    """The appliance does not say that everything is cut."""

    code = "lockdown.not_held"
    remedy = Remedy.OPERATOR


@policy_app.command("show")
def show(
    *,
    proposal: Annotated[bool, typer.Option("--proposal", help="show what the console proposes instead")] = False,
    output: OutputOption = Output.TABLE,
    state: StateOption = None,
) -> None:
    """Show the policy in force, its hash, and what the console narrows further or proposes."""
    kept = Kept.open(state_of(state))
    proposed = kept.proposal()
    if proposal and proposed is None:
        raise NoProposalError("the console has proposed no policy")
    text, sha256 = (proposed.policy, proposed.sha256) if proposal and proposed else _in_force(kept)
    tightening = kept.tightening()
    if output is Output.JSON:
        parsed = reading.parse(text.encode(), name="policy").policy
        write_json(
            {
                "policy": parsed.model_dump(mode="json"),
                "sha256": sha256,
                "tightening": tightening.model_dump(mode="json") if tightening else None,
                "proposal": proposed.sha256 if proposed else None,
                "paused": kept.is_paused,
            }
        )
        return
    for line in text.rstrip("\n").split("\n"):
        typer.echo(_plain(line))
    typer.echo(f"# SHA-256 {sha256}")
    if tightening is not None:
        narrowed = json.dumps(tightening.model_dump(mode="json", exclude_defaults=True))
        typer.echo(f"# The console narrows it further: {narrowed}")
    if proposed is not None and not proposal:
        typer.echo(f"# {_plain(proposed.author)} proposes another: pcg appliance policy show --proposal")
    if kept.is_paused:
        typer.echo("# The site is paused: no commands are taken.")


@policy_app.command("test")
def judge_file(
    file: Annotated[Path, typer.Option("--file", "-f", help="the command, as JSON: a whole one or its task alone")],
    *,
    policy: Annotated[Path | None, typer.Option("--policy", help="judge by this file, not the policy in force")] = None,
    output: OutputOption = Output.TABLE,
    state: StateOption = None,
) -> None:
    """Tell what would become of a command, rule by rule. Exit code 0 when it is allowed, 1 when not."""
    kept = Kept.open(state_of(state))
    command = _command(file)
    judged_by = _policy(policy) if policy else kept.file.read().policy
    verdict = judging.judge(judged_by, kept.tightening(), command, _situation(kept, command))
    if output is Output.JSON:
        write_json(_verdict(verdict))
    else:
        rows = [(rule.name, rule.outcome, rule.side, rule.reason) for rule in verdict.rules]
        table(("RULE", "OUTCOME", "WHOSE", "REASON"), rows)
        typer.echo(f"The command is {verdict.outcome}." if verdict.outcome is not Outcome.WAITS else "It waits.")
    if verdict.outcome is not Outcome.ALLOWED:
        raise typer.Exit(1)


@policy_app.command("edit-check")
def edit_check(file: FileArgument = None, *, state: StateOption = None) -> None:
    """Check a policy after it was edited: each mistake is told with its line and column."""
    path = file or Kept.open(state_of(state)).file.path
    known = _read(path)
    typer.echo(f"{path} is a policy of the profile {known.policy.profile}.\nIts SHA-256 is {known.sha256}.")


@policy_app.command("set")
def set_policy(
    *,
    profile: Annotated[Profile | None, typer.Option("--profile", help="the profile, and nothing beside it")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="the policy file")] = None,
    state: StateOption = None,
) -> None:
    """Put another policy into force, at once and whole: a file, or a profile with nothing beside it."""
    if (profile is None) == (file is None):
        raise PolicyInvalidError("say either --profile or --file")
    kept = Kept.open(state_of(state))
    with audited(kept.file.path.parent, "policy.set", {"file": str(file) if file else None, "profile": profile}):
        content = reading.of_profile(profile) if profile else _content(file or Path())
        known = reading.parse(content, name=str(file or profile))
    kept.file.write(content)
    typer.echo(f"The policy in force is of the profile {known.policy.profile}, its SHA-256 is {known.sha256}.")


@policy_app.command("accept")
def accept(
    sha256: Annotated[str, typer.Argument(help="hash of the proposal that was looked at, or its first digits")],
    *,
    state: StateOption = None,
) -> None:
    """Put what the console proposes into force; look at it before, with `pcg appliance policy show --proposal`."""
    kept = Kept.open(state_of(state))
    with audited(kept.file.path.parent, "policy.accepted", {"sha256": sha256}):
        known = kept.accept(sha256)
    typer.echo(f"The policy in force is of the profile {known.policy.profile}, its SHA-256 is {known.sha256}.")


def approvals(*, output: OutputOption = Output.TABLE, state: StateOption = None) -> None:
    """List the commands that wait for the site's yes, with what they say; as JSON they can be signed elsewhere."""
    kept = Kept.open(state_of(state))
    found, now = kept.waiting(), SystemClock().now()
    if output is Output.JSON:
        gateway = _gateway(kept.file.path.parent)
        commands = [_waiting(one, gateway, now) for one in found]
        write_json({"gateway": str(gateway), "commands": commands})
        return
    rows = [
        (str(one.command.id), one.command.task.kind, _name(one.command), one.command.author, _yeses(one, now))
        for one in found
    ]
    table(("COMMAND", "KIND", "WHAT", "AUTHOR", "YES"), rows)


def approve(
    command_id: Annotated[str, typer.Argument(help="the command's id, from `pcg appliance approvals`")],
    *,
    signature: Annotated[
        Path | None, typer.Option("--signature", help="file that `pcg approve sign` has made, in place of a yes")
    ] = None,
    yes: YesOption = False,
    state: StateOption = None,
) -> None:
    """Say yes to a command that destroys, once and for a day; or bring the word of a key that may sign for it."""
    directory = state_of(state)
    kept, now = Kept.open(directory), SystemClock().now()
    facts: dict[str, Fact] = {"command": command_id, "signature": str(signature) if signature else None}
    with audited(directory, "command.approved", facts):
        wanted = _id(command_id)
        if signature is not None:
            added = kept.add(_approval(signature, wanted), gateway=_gateway(directory), now=now)
            typer.echo(f"Command {command_id} has the word of {len(added.approvals)} keys.")
            return
        waiting = kept.that_waits(wanted)
        confirm(
            f"Let {waiting.command.author} carry out {waiting.command.task.kind} {_name(waiting.command)}?", yes=yes
        )
        kept.approve(wanted, by=user_of_machine(), now=now)
    typer.echo(f"Command {command_id} may be carried out when the console sends it again, within half a minute.")


def pause(*, state: StateOption = None) -> None:
    """Take no more commands; what was accepted is finished. It survives restarts; `resume` ends it."""
    directory = state_of(state)
    with audited(directory, "site.paused", {}):
        Kept.open(directory).pause()
    typer.echo("No commands are taken any more; those that were accepted are finished.")


def resume(*, state: StateOption = None) -> None:
    """Take commands again, after a pause, or after the console was found to know less than before."""
    directory = state_of(state)
    halt = HaltFile(directory).read()
    with audited(directory, "site.resumed", {"halt": "; ".join(halt.reasons) if halt else None}):
        Kept.open(directory).resume()
        HaltFile(directory).end()
    typer.echo("Commands are taken again.")


def lockdown(
    *,
    release: Annotated[bool, typer.Option("--release", help="end the lockdown")] = False,
    state: StateOption = None,
) -> None:
    """Cut everything at once: commands, streams, and the way to the console. It needs no console to do so.

    What was cut goes on where it was once the lockdown is released; machines that run are left alone.
    """
    directory = state_of(state)
    locked = Lockdown(directory)
    if release:
        with audited(directory, "lockdown.released", {}):
            locked.release()
        typer.echo("The lockdown is over: a running appliance goes on.")
        return
    ask(locked)  # first of all, and whether the audit log can be written or not
    with audited(directory, "lockdown.asked", {}):
        held = until_held(locked, directory)
    typer.echo("Everything is cut." if held else "No appliance runs here; one that is started does nothing.")


def ask(locked: Lockdown) -> None:
    """Have everything cut. Raises LockdownNotHeldError."""
    try:
        locked.ask()
    except OSError as fault:
        raise LockdownNotHeldError(
            f"the lockdown cannot be written into the state directory ({fault.strerror}): stop the appliance with "
            "systemctl"
        ) from fault


def until_held(locked: Lockdown, directory: Path) -> bool:
    """Wait until the appliance says that everything is cut; False when none runs. Raises LockdownNotHeldError."""
    clock = SystemClock()
    ends = clock.monotonic() + HELD_LIMIT
    while clock.monotonic() < ends:
        if locked.is_held:
            return True
        try:
            with files.only_one(directory):
                return False
        except AlreadyRunningError:
            threading.Event().wait(0.02)
    raise LockdownNotHeldError(
        f"the appliance has not said within {HELD_LIMIT:.0f} seconds that everything is cut: stop it with systemctl"
    )


def _in_force(kept: Kept) -> tuple[str, str]:
    known = kept.file.read()
    return known.text, known.sha256


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(POLICY_LIMIT + 1)
    except OSError as fault:
        raise CommandFileError(f"cannot read {path}: {fault.strerror}") from fault


def _read(path: Path) -> reading.Known:
    return reading.parse(_content(path), name=str(path))


def _policy(path: Path) -> Policy:
    return _read(path).policy


def _command(path: Path) -> Command:
    """Return the command in a file; of a task alone the rest is made up, for no rule looks at it."""
    try:
        said: Any = json.loads(_content(path))
        if isinstance(said, dict) and "task" not in said:
            task: Any = TypeAdapter(Task).validate_python(said)
            now = SystemClock().now()
            return Command(id=new_id(now), task=task, author="test", created_at=now)
        return Command.model_validate(said)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandFileError(f"{path} is no command: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as fault:
        raise CommandFileError(f"{path} is no JSON") from fault


def _approval(path: Path, command_id: UUID) -> Approval:
    try:
        found = Approval.model_validate_json(_content(path))
    except ValidationError:
        raise CommandFileError(f"{path} is no approval as `pcg approve sign` writes them") from None
    if found.command_id != str(command_id):
        raise CommandFileError(f"{path} is an approval of command {found.command_id}")
    return found


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandFileError("a command's id is a UUID, as `pcg appliance approvals` lists them") from None


def _gateway(directory: Path) -> UUID:
    paired = Identity.open(directory).paired()
    if paired is None:
        raise NotPairedError("this appliance is not paired: there is no gateway to sign for")
    return paired.gateway_id


def _situation(kept: Kept, command: Command) -> Situation:
    now, found = SystemClock().now(), kept.of(command)
    directory = kept.file.path.parent
    signers = found.signers(gateway=_gateway(directory), now=now) if found and found.approvals else frozenset()
    return Situation(
        now=now,
        usage=book.read(kept.usage),
        is_paused=kept.is_paused,
        is_approved=found is not None and found.is_approved(now),
        signers=signers,
    )


def _verdict(verdict: Verdict) -> dict[str, object]:
    rules = [
        {"rule": rule.name, "outcome": rule.outcome, "side": rule.side, "reason": rule.reason} for rule in verdict.rules
    ]
    return {"outcome": verdict.outcome, "rules": rules}


def _waiting(one: Waiting, gateway: UUID, now: datetime) -> dict[str, object]:
    return {
        "command": one.command.model_dump(mode="json"),
        "since": one.since.isoformat(),
        "reason": one.reason,
        "approved": one.is_approved(now),
        "signers": sorted(one.signers(gateway=gateway, now=now)),
    }


def _yeses(one: Waiting, now: datetime) -> str:
    said = [f"by {one.approved_by}"] if one.is_approved(now) else []
    return ", ".join([*said, *([f"{len(one.approvals)} keys"] if one.approvals else [])]) or "none"


def _name(command: Command) -> str:
    """Return what a command works on, by the name people know."""
    task = command.task
    named = getattr(task, "name", None) or getattr(getattr(task, "spec", None), "name", None)
    return str(named or task.resource)


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless that was answered already. Raises NotConfirmedError."""
    if not yes and not typer.confirm(_plain(question), err=True):
        raise NotConfirmedError


def _plain(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()
