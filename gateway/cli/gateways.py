"""This file is `pcg gateway` and `pcg token`: gateways, and the tokens that new ones pair with."""

import sys
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli import asking, tables, watching
from gateway.cli.arguments import (
    AccountOption,
    GatewayName,
    NewGatewayName,
    TimeoutOption,
    TokenIdArgument,
    YesOption,
    path,
)
from gateway.cli.client import Client
from gateway.cli.options import OutputOption, told, with_client
from gateway.cli.plain import plain
from gateway.cli.tables import Output
from gateway.cli.watching import Patience
from gateway.console.api.models import (
    CommandView,
    FreshRegistrationToken,
    GatewayRemoved,
    Gateways,
    NewRegistrationToken,
    ReadInventoryOf,
    RegistrationTokens,
)

gateway_app = typer.Typer(help="Gateways: the appliances in your data centres.", no_args_is_help=True)
token_app = typer.Typer(help="Registration tokens: what a new gateway pairs with.", no_args_is_help=True)


@gateway_app.command("list")
def list_gateways(output: OutputOption = Output.TABLE) -> None:
    """List the gateways and whether they are connected."""

    async def work(client: Client) -> None:
        found = await client.ask("GET", "/gateways", Gateways)
        tables.show(found, tables.gateways(found.items), output)

    with_client(work, output=output)


@gateway_app.command("inventory")
def inventory(
    name: GatewayName,
    account: AccountOption,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask a gateway what there is to choose from in a cloud account."""

    async def work(client: Client) -> None:
        question = ReadInventoryOf(account=account)
        command = await client.ask("POST", path("gateways", name, "inventory"), CommandView, body=question)
        await watching.say_if_waiting(client, name)
        patience = Patience(timeout, "asking again asks anew")
        found = await watching.result(client, command, patience=patience)
        if found.inventory is not None:
            tables.show(found.inventory, tables.inventory(found.inventory), output)

    with_client(work, output=output)


@gateway_app.command("remove")
def remove(
    name: GatewayName,
    forget: Annotated[
        bool,
        typer.Option("--forget-clusters", help="forget its clusters too; their machines stay in vCenter, as they are"),
    ] = False,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove a gateway: its certificate is worth nothing from then on. For one that is lost, or to be paired anew.

    While it has clusters it is removed only with --forget-clusters.
    """
    left = " and forget its clusters (their machines stay in vCenter)" if forget else ""
    with told(output):
        asking.confirm_removal(f"Remove gateway {name}{left}?", yes=yes)

    async def work(client: Client) -> None:
        where = path("gateways", name) + ("?forget=true" if forget else "")
        gone = await client.ask("DELETE", where, GatewayRemoved)
        tables.show(gone, tables.removed(gone), output)

    with_client(work, output=output)


@token_app.command("create")
def create_token(
    gateway: NewGatewayName,
    hours: Annotated[int, typer.Option("--hours", help="how long the token may be used: 1 to 168")] = 24,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a registration token for a new gateway. It is shown once: standard output holds it and nothing else."""

    async def work(client: Client) -> None:
        wish = NewRegistrationToken(gateway=gateway, hours=hours)
        fresh = await client.ask("POST", "/registration-tokens", FreshRegistrationToken, body=wish)
        if output is Output.JSON:
            sys.stdout.write(fresh.model_dump_json(indent=2, ensure_ascii=True) + "\n")
            return
        sys.stderr.write(
            f"Token {plain(fresh.id)} pairs one appliance as {gateway} until {fresh.expires_at:%Y-%m-%d %H:%M} UTC.\n"
        )
        sys.stdout.write(plain(fresh.token) + "\n")

    with_client(work, output=output)


@token_app.command("list")
def list_tokens(output: OutputOption = Output.TABLE) -> None:
    """List the registration tokens, without their secrets."""

    async def work(client: Client) -> None:
        found = await client.ask("GET", "/registration-tokens", RegistrationTokens)
        tables.show(found, tables.tokens(found.items), output)

    with_client(work, output=output)


@token_app.command("revoke")
def revoke_token(token_id: TokenIdArgument, output: OutputOption = Output.TABLE) -> None:
    """Make a registration token useless. With --output json: the token as it is then."""

    async def work(client: Client) -> None:
        await client.tell("DELETE", path("registration-tokens", token_id))
        found = await client.ask("GET", "/registration-tokens", RegistrationTokens)
        (revoked,) = [one for one in found.items if one.id == token_id]
        tables.show(revoked, Text(f"Token {token_id} is revoked."), output)

    with_client(work, output=output)
