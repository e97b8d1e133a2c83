"""This file is `pcg console`: the console's own commands, for whoever runs one."""

import asyncio
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.console import ca, castatus, commandkeys, daemon, keyring, settings
from gateway.console.ca import Situation, Step
from gateway.console.settings import ConsoleSettings
from gateway.kit import logs, loops, moments
from gateway.kit.clock import SystemClock

app = typer.Typer(help="Run the console; its API keys (key) and its certificate authority (ca).", no_args_is_help=True)
key_app = typer.Typer(help="API keys, in the database of the console on this machine.", no_args_is_help=True)
ca_app = typer.Typer(help="The certificate authority of the console on this machine.", no_args_is_help=True)
app.add_typer(key_app, name="key")
app.add_typer(ca_app, name="ca")
app.add_typer(commandkeys.app, name="command-key")


class Output(StrEnum):
    """For whom something is written."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="a table for people, or json for programs")]


def _help(name: str) -> str:
    field = ConsoleSettings.model_fields[name]
    return f"{field.description} [PCG_CONSOLE_{name.upper()}]"


State = Annotated[Path | None, typer.Option("--state", help=_help("state"))]


@app.command()
def run(
    *,
    state: Annotated[Path | None, typer.Option(help=_help("state"))] = None,
    listen: Annotated[str | None, typer.Option(help=_help("listen"))] = None,
    api_port: Annotated[int | None, typer.Option(help=_help("api_port"))] = None,
    tunnel_port: Annotated[int | None, typer.Option(help=_help("tunnel_port"))] = None,
    hosts: Annotated[str | None, typer.Option(help=_help("hosts"))] = None,
    grace: Annotated[float | None, typer.Option(help=_help("grace"))] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="log more")] = False,
) -> None:
    """Run the console until it is told to stop; options go before the environment.

    The database is chosen in the environment only: its URL may hold a password, and command lines can be read by all.
    """
    chosen: dict[str, object] = {
        "state": state,
        "listen": listen,
        "api_port": api_port,
        "tunnel_port": tunnel_port,
        "hosts": hosts,
        "grace": grace,
    }
    logs.configure(program="console", verbose=verbose)
    given = {name: value for name, value in chosen.items() if value is not None}
    loops.run(daemon.run(settings.read(**given)))


@key_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="what the key is for, in words")], *, state: State = None
) -> None:
    """Make an API key and print it; it is shown only now."""
    typer.echo(asyncio.run(keyring.create(_settings(state), name, now=SystemClock().now())))


@key_app.command("list")
def list_keys(*, state: State = None) -> None:
    """List the API keys, without their secrets."""
    found = asyncio.run(keyring.every(_settings(state), now=SystemClock().now()))
    typer.echo(f"{'ID':16}  {'MADE':20}  {'LAST USED':20}  {'STATE':7}  NAME")
    for key in found:
        valid = "revoked" if key.revoked_at else "valid"
        typer.echo(f"{key.id:16}  {_minute(key.created_at)}  {_minute(key.last_used_at)}  {valid:7}  {key.name}")


@key_app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="the key's id")], *, state: State = None
) -> None:
    """Make an API key worthless, at once."""
    asyncio.run(keyring.revoke(_settings(state), key_id, now=SystemClock().now()))
    typer.echo(f"API key {key_id} is revoked.")


@ca_app.command("status")
def show_authority(*, state: State = None, output: OutputOption = Output.TABLE) -> None:
    """Show the console's certificates, which gateways trust which root, and what to do next."""
    now = SystemClock().now()
    _show(asyncio.run(ca.situation(_settings(state), now=now)), now, output)


@ca_app.command("rotate")
def rotate(
    *,
    root: Annotated[bool, typer.Option("--root", help="step 1: make the next root, and make it known")] = False,
    switch: Annotated[
        bool, typer.Option("--switch", help="step 2: make it the current one; the former one's key is destroyed")
    ] = False,
    retire: Annotated[bool, typer.Option("--retire", help="step 3: take the former root no more")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="even if gateways are left behind, which come back by recovery")
    ] = False,
    state: State = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign with a new intermediate from now on; or, in three steps, with a new root. The console may run meanwhile."""
    chosen = [step for step, is_it in ((Step.ROOT, root), (Step.SWITCH, switch), (Step.RETIRE, retire)) if is_it]
    if len(chosen) > 1:
        raise typer.BadParameter("--root, --switch and --retire are three steps: take one at a time")
    (step,) = chosen or [Step.INTERMEDIATE]
    now = SystemClock().now()
    _show(asyncio.run(ca.rotate(_settings(state), step, even_so=yes, now=now)), now, output)


def _show(found: Situation, now: datetime, output: Output) -> None:
    shown = castatus.document(found, now=now)
    if output is Output.JSON:
        typer.echo(shown.model_dump_json(indent=2, ensure_ascii=True))
    else:
        typer.echo("\n".join(castatus.lines(shown)))


def _settings(state: Path | None) -> ConsoleSettings:
    return settings.read(**({} if state is None else {"state": state}))


def _minute(moment: datetime | None) -> str:
    return moments.minute(moment) if moment else f"{'never':20}"
