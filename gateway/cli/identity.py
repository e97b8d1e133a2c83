"""This file is `pcg gateway show`, `revoke`, `release`, `approve-recovery`: who a gateway is, and what is decided."""

from typing import Annotated

import typer
from pydantic import BaseModel

from gateway.cli import asking, tables
from gateway.cli.arguments import GatewayName, YesOption, path
from gateway.cli.client import Client
from gateway.cli.options import OutputOption, told, with_client
from gateway.cli.tables import Output
from gateway.console.api.models import GatewayView, Nothing, RevokeGateway

ReasonOption = Annotated[str, typer.Option("--reason", help="why, for whoever looks at it later")]


def add_to(application: typer.Typer) -> None:
    """Add the commands to those of `pcg gateway`."""
    for name, command in (
        ("show", show),
        ("revoke", revoke),
        ("release", release),
        ("approve-recovery", approve_recovery),
    ):
        application.command(name)(command)


def show(name: GatewayName, output: OutputOption = Output.TABLE) -> None:
    """Show who a gateway is, what it may do, and what is the matter with it."""

    async def work(client: Client) -> None:
        found = await client.ask("GET", path("gateways", name), GatewayView)
        tables.show(found, tables.gateway(found), output)

    with_client(work, output=output)


def revoke(
    name: GatewayName, reason: ReasonOption = "", yes: YesOption = False, output: OutputOption = Output.TABLE
) -> None:
    """Take a gateway's identity away: it is cut within seconds. Its clusters and history stay.

    It comes back when it is paired anew with a token of `pcg gateway repair-token`.
    """
    with told(output):
        asking.confirm_removal(f"Revoke gateway {name}, and cut it?", yes=yes)
    _decide(name, "revoke", RevokeGateway(reason=reason), output)


def release(name: GatewayName, yes: YesOption = False, output: OutputOption = Output.TABLE) -> None:
    """End a gateway's quarantine or pause, and clear what led to it.

    Who says so takes responsibility that one machine is left with this identity, and that it is the right one.
    """
    with told(output):
        asking.confirm_removal(f"Is one machine left that is gateway {name}, and is it the right one?", yes=yes)
    _decide(name, "release", Nothing(), output)


def approve_recovery(name: GatewayName, output: OutputOption = Output.TABLE) -> None:
    """Let a gateway come back that has lost its certificate too often to do so by itself."""
    _decide(name, "approve-recovery", Nothing(), output)


def _decide(name: str, decision: str, body: BaseModel, output: Output) -> None:
    async def work(client: Client) -> None:
        found = await client.ask("POST", path("gateways", name, decision), GatewayView, body=body)
        tables.show(found, tables.gateway(found), output)

    with_client(work, output=output)
