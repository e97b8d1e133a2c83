"""This file is `pcg command`: look at a command, cancel it, and hold or let go what a gateway begins."""

from typing import Annotated
from uuid import UUID

import typer
from rich.console import Group
from rich.text import Text

from gateway.cli import tables
from gateway.cli.arguments import path
from gateway.cli.client import Client
from gateway.cli.options import OutputOption, with_client
from gateway.cli.plain import plain
from gateway.cli.tables import Output
from gateway.console.api.models import CommandView, Pause

app = typer.Typer(help="Commands: what was asked of gateways.", no_args_is_help=True)

CommandId = Annotated[UUID, typer.Argument(metavar="ID", help="the command's id")]
GatewayOption = Annotated[str, typer.Option("--gateway", help="the gateway, by name")]
OnOption = Annotated[
    str | None, typer.Option("--on", help="the only resource, such as cluster/ID or account/NAME; all when left out")
]


@app.command("show")
def show(command_id: CommandId, output: OutputOption = Output.TABLE) -> None:
    """Show what became of a command."""

    async def work(client: Client) -> None:
        found = await client.ask("GET", path("commands", str(command_id)), CommandView)
        plan = [] if found.plan is None else [tables.plan(found.plan)]
        tables.show(found, Group(_words(found), *plan), output)

    with_client(work, output=output)


@app.command("cancel")
def cancel(command_id: CommandId, output: OutputOption = Output.TABLE) -> None:
    """Cancel a command: what has not begun ends at once, what runs as soon as its step has let go."""

    async def work(client: Client) -> None:
        found = await client.ask("POST", path("commands", str(command_id), "cancel"), CommandView)
        over = Text(f"Command {command_id} is cancelled; no gateway had heard of it.")
        sent = Text(f"Command {found.id} cancels it: `pcg command show {command_id}` tells when.")
        tables.show(found, over if found.id == command_id else sent, output)

    with_client(work, output=output)


@app.command("pause")
def pause(gateway: GatewayOption, on: OnOption = None, output: OutputOption = Output.TABLE) -> None:
    """Have a gateway begin nothing new; what runs goes on. It outlasts restarts."""
    _hold("pause", gateway, on, output=output)


@app.command("resume")
def resume(gateway: GatewayOption, on: OnOption = None, output: OutputOption = Output.TABLE) -> None:
    """Have a gateway begin again what a pause has held; without --on every pause ends."""
    _hold("resume", gateway, on, output=output)


def _hold(verb: str, gateway: str, on: str | None, *, output: Output) -> None:
    async def work(client: Client) -> None:
        found = await client.ask("POST", path("gateways", gateway, verb), CommandView, body=Pause(on=on))
        tables.show(found, Text(f"Command {found.id} will {verb} {on or 'everything'} at gateway {gateway}."), output)

    with_client(work, output=output)


def _words(command: CommandView) -> Text:
    said = f"{command.id}  {command.kind}  {command.state}  gateway {command.gateway}"
    return Text(plain(said) if command.problem is None else f"{plain(said)}\n{plain(command.problem.message)}")
