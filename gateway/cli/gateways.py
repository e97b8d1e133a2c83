"""This file is `pcg gateway`: the appliances as the console knows them."""

from typing import Annotated

import typer

from gateway.cli import asking, identity, policies, tables, tokens, watching
from gateway.cli.arguments import (
    AccountOption,
    GatewayName,
    TimeoutOption,
    YesOption,
    path,
)
from gateway.cli.client import Client
from gateway.cli.options import OutputOption, told, with_client
from gateway.cli.tables import Output
from gateway.cli.watching import Patience
from gateway.console.api.models import (
    CommandView,
    GatewayRemoved,
    Gateways,
    ReadInventoryOf,
)

gateway_app = typer.Typer(help="Gateways: the appliances in your data centres.", no_args_is_help=True)
identity.add_to(gateway_app)
policies.add_to(gateway_app)


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


gateway_app.command("confirm")(tokens.confirm)
gateway_app.command("repair-token")(tokens.repair_token)
