"""This file is `pcg token`, and those of `pcg gateway` that take an appliance in: `confirm` and `repair-token`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli import asking, tables
from gateway.cli.arguments import GatewayName, InputInvalidError, NewGatewayName, TokenIdArgument, path
from gateway.cli.client import Client
from gateway.cli.inspecting import inspected
from gateway.cli.options import OutputOption, told, with_client
from gateway.cli.plain import plain
from gateway.cli.tables import Output
from gateway.console.api.models import (
    FreshRegistrationToken,
    GatewayView,
    NewRegistrationToken,
    NewRepairToken,
    RegistrationTokens,
    WordsRead,
)
from gateway.console.records import Standing
from gateway.identity import tokens
from gateway.kit import moments, secretfile
from gateway.kit.clock import SystemClock

token_app = typer.Typer(help="Registration tokens: what a new gateway pairs with.", no_args_is_help=True)

HoursOption = Annotated[int, typer.Option("--hours", help="how long the token may be used: 1 to 168")]
ConfirmOption = Annotated[
    bool, typer.Option("--confirm", help="the gateway may do nothing until `pcg gateway confirm` was given its words")
]


@token_app.command("create")
def create_token(
    gateway: NewGatewayName,
    hours: HoursOption = 24,
    confirm: ConfirmOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a registration token for a new gateway. It is shown once: standard output holds it and nothing else."""

    async def work(client: Client) -> None:
        wish = NewRegistrationToken(gateway=gateway, hours=hours, confirm=confirm)
        fresh = await client.ask("POST", "/registration-tokens", FreshRegistrationToken, body=wish)
        _show_fresh(fresh, f"pairs one appliance as {gateway}", output)

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


@token_app.command("inspect")
def inspect_token(
    source: Annotated[str, typer.Argument(help="file of the token; - for standard input", metavar="FILE")] = "-",
    output: OutputOption = Output.TABLE,
) -> None:
    """Explain a registration token without revealing its secret. Nobody is asked: only what is in it is told."""
    with told(output):
        found = inspected(_read(source), now=SystemClock().now())
        tables.show(found, tables.inspected(found), output)


def repair_token(
    name: GatewayName, hours: HoursOption = 24, confirm: ConfirmOption = False, output: OutputOption = Output.TABLE
) -> None:
    """Make a token that pairs a gateway anew in its place: name, clusters and history stay, its old keys are dead then.

    For an appliance that was lost, revoked or copied. Standard output holds the token and nothing else.
    """

    async def work(client: Client) -> None:
        wish = NewRepairToken(hours=hours, confirm=confirm)
        fresh = await client.ask("POST", path("gateways", name, "repair-token"), FreshRegistrationToken, body=wish)
        _show_fresh(fresh, f"pairs {name} anew, with new keys in the place of its old ones,", output)

    with_client(work, output=output)


def confirm(
    name: GatewayName,
    words: Annotated[
        str | None, typer.Option("--words", help="the six words that the appliance shows; asked for if left out")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let a gateway work that was paired with --confirm, by the six words that `pcg appliance status` shows on it."""
    with told(output):
        read = words or _asked_for(name)

    async def work(client: Client) -> None:
        where, body = path("gateways", name, "confirm"), WordsRead(words=read)
        before = await client.ask("GET", path("gateways", name), GatewayView)
        shown = await client.ask("POST", where, GatewayView, body=body)
        already = " already" if before.standing is Standing.ACTIVE else ""
        tables.show(
            shown, Text(f"Gateway {name} is confirmed{already}: the words are those of its device key."), output
        )

    with_client(work, output=output)


def _asked_for(name: str) -> str:
    if not asking.can_ask():
        raise InputInvalidError("without a terminal to ask on, give the words that the appliance shows with --words")
    return asking.line(f"The six words that `pcg appliance status` shows on {name}")


def _read(source: str) -> str:
    if source.startswith(tokens.PREFIX):
        sys.stderr.write("A token on the command line is seen by others on this machine: give a file, or - instead.\n")
        return source
    return secretfile.read(Path(source))


def _show_fresh(fresh: FreshRegistrationToken, does: str, output: Output) -> None:
    if output is Output.JSON:
        sys.stdout.write(fresh.model_dump_json(indent=2, ensure_ascii=True) + "\n")
        return
    after = " Then `pcg gateway confirm` wants the words that the appliance shows." if fresh.confirm else ""
    sys.stderr.write(f"Token {plain(fresh.id)} {does} until {moments.minute(fresh.expires_at)}.{after}\n")
    sys.stdout.write(plain(fresh.token) + "\n")
