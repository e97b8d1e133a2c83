"""This file is `pcg approve`: how somebody of the site signs, with a key of their own, that a command may be done.

No console is asked: the command comes from the appliance (`pcg appliance approvals --output json`), and the signature
goes back there (`pcg appliance approve --signature`).
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from gateway.cli import asking
from gateway.cli.arguments import InputInvalidError, YesOption, in_words
from gateway.contract.commands import Command
from gateway.contract.shapes import Report
from gateway.identity import approval
from gateway.kit import files
from gateway.kit.clock import SystemClock

MOST_BYTES = 16 * 1024 * 1024
LONGEST_HOURS = 7 * 24

app = typer.Typer(help="Sign, with a key of the site's own, that a command may be carried out.", no_args_is_help=True)

KeyOption = Annotated[Path, typer.Option("--key", help="file of an Ed25519 private key: PKCS #8, or as ssh-keygen's")]


class _Waiting(Report):
    """What `pcg appliance approvals` shows of a command."""

    command: Command


class _Listed(Report):
    """What `pcg appliance approvals --output json` writes."""

    gateway: UUID
    commands: list[_Waiting]


@app.command("key")
def key(
    key_file: Annotated[Path, typer.Option("--out", help="file for a new private key; one that is there is shown")],
) -> None:
    """Make a key to sign with, and show its public half as policies name it."""
    if not key_file.exists():
        files.write_whole(key_file, approval.private_pem(Ed25519PrivateKey.generate()))
    typer.echo(approval.public_text(approval.read_key(_content(key_file), name=str(key_file))))


@app.command("sign")
def sign(
    command_id: Annotated[str, typer.Argument(help="the command's id")],
    listed: Annotated[
        Path, typer.Option("--from", help="file that `pcg appliance approvals --output json` has written")
    ],
    key_file: KeyOption,
    hours: Annotated[int, typer.Option("--hours", min=1, max=LONGEST_HOURS, help="how long it is good for")] = 24,
    yes: YesOption = False,
) -> None:
    """Sign that a command may be carried out, after showing all that it says; write the approval."""
    found = _listed(listed)
    command = _one(found, command_id)
    signer = approval.read_key(_content(key_file), name=str(key_file))
    typer.echo(json.dumps(command.model_dump(mode="json"), indent=2, ensure_ascii=True), err=True)
    asking.confirm_removal(f"Let {command.author} carry out {command.task.kind} {command.task.resource}?", yes=yes)
    expires = SystemClock().now() + timedelta(hours=hours)
    typer.echo(approval.sign(signer, command, gateway=found.gateway, expires=expires).model_dump_json())


def _one(found: _Listed, command_id: str) -> Command:
    for waiting in found.commands:
        if str(waiting.command.id) == command_id.lower():
            return waiting.command
    raise InputInvalidError("no command of that id waits for a yes, as far as that file tells")


def _listed(path: Path) -> _Listed:
    content: Any = _content(path)
    try:
        return _Listed.model_validate_json(content)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        raise InputInvalidError(f"{path} is not what `pcg appliance approvals` writes: {in_words(first)}") from None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as fault:
        raise InputInvalidError(f"cannot read {path}: {fault.strerror}") from fault
