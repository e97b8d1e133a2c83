"""This file is `pcg account`: cloud accounts, sealed on this machine so that one gateway alone can open them."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr, ValidationError
from rich.text import Text

from gateway.cli import asking, devices, session, tables
from gateway.cli.arguments import YesOption, name, path
from gateway.cli.client import Client
from gateway.cli.exits import AnsweredError
from gateway.cli.options import OutputOption, told, with_client
from gateway.cli.tables import Output
from gateway.clouds.accounts import AccountInvalidError, CloudAccount, content_of
from gateway.console.api.accountmodels import AccountView, GatewayAccounts, SealedBody, SealingKeyFor
from gateway.console.api.models import Gateways
from gateway.identity import sealing
from gateway.identity.sealing import Label
from gateway.kit import secretfile
from gateway.kit.errors import GatewayError, Remedy

ATTEMPTS = 3

app = typer.Typer(help="Cloud accounts, sealed so that one gateway alone can open them.", no_args_is_help=True)
create_app = typer.Typer(help="Seal a cloud account to a gateway.", no_args_is_help=True)
app.add_typer(create_app, name="create")

AccountName = Annotated[str, typer.Argument(help="the account's name", callback=name)]
ForGateway = Annotated[str, typer.Option("--gateway", help="the gateway it is for", callback=name)]


class AccountExistsError(GatewayError):
    """There is a sealed account of that name already."""

    code = "cli.account_exists"
    remedy = Remedy.CALLER


@create_app.command("vsphere")
def create_vsphere(  # noqa: PLR0913 - options of one command line
    account: Annotated[str, typer.Argument(help="name that cluster files will call it by", callback=name)],
    gateway: ForGateway,
    server: Annotated[str, typer.Option("--server", help="vCenter's host name or address, with :port unless 443")],
    user: Annotated[str, typer.Option("--user", help="user to sign in to vCenter as")],
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="file of the password; - for standard input; asked for if left out"),
    ] = None,
    thumbprint: Annotated[
        str | None,
        typer.Option("--thumbprint", help="SHA-256 of vCenter's certificate, if no authority vouches for it"),
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", help="the six words that `pcg appliance status` shows")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="replace the account of that name, if there is one")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Seal a vCenter account to a gateway: the password leaves this machine as what that gateway alone can open."""
    with told(output):
        sealed = _account(server=server, user=user, password=_password(password_file), thumbprint=thumbprint)
        console = session.read().url

    async def work(client: Client) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            shown = await client.ask(
                "GET", f"{path('gateways', gateway, 'sealing-key')}?account={account}", SealingKeyFor
            )
            if shown.exists and not replace:
                raise AccountExistsError(f"{gateway} has a sealed account {account}: say --replace to replace it")
            words, is_new = devices.meet(shown, console=console, given=fingerprint)
            if attempt == 1:
                _show_fingerprint(gateway, words, is_new=is_new and fingerprint is None)
            try:
                kept = await client.ask("PUT", _of(gateway, account), AccountView, body=_seal(shown, sealed))
            except AnsweredError as fault:
                # Its key was replaced between question and answer: what was sealed is of no use any more.
                if fault.problem.code != "account.key_changed" or attempt == ATTEMPTS:
                    raise
            else:
                tables.show(kept, Text(f"Account {account} is sealed to {gateway} and kept by the console."), output)
                return

    with_client(work, output=output)


@app.command("list")
def list_accounts(
    gateway: Annotated[str | None, typer.Option("--gateway", help="only those of this gateway")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the sealed accounts; what is in them only their gateway knows."""

    async def work(client: Client) -> None:
        names = [gateway] if gateway else [one.name for one in (await client.ask("GET", "/gateways", Gateways)).items]
        found = [await client.ask("GET", path("gateways", one, "accounts"), GatewayAccounts) for one in names]
        whole = tables.AccountsOfGateways(gateways=found)
        tables.show(whole, tables.accounts(found), output)

    with_client(work, output=output)


@app.command("delete")
def delete(
    account: AccountName, gateway: ForGateway, yes: YesOption = False, output: OutputOption = Output.TABLE
) -> None:
    """Delete a sealed account, in the console and at its gateway. In vCenter nothing changes."""
    with told(output):
        asking.confirm_removal(f"Delete account {account} of {gateway}?", yes=yes)

    async def work(client: Client) -> None:
        await client.tell("DELETE", _of(gateway, account))
        left = await client.ask("GET", path("gateways", gateway, "accounts"), GatewayAccounts)
        tables.show(left, Text(f"Account {account} of {gateway} is deleted."), output)

    with_client(work, output=output)


@app.command("rotate-key")
def rotate_key(gateway: ForGateway, output: OutputOption = Output.TABLE) -> None:
    """Have a gateway make a new sealing key and seal its accounts anew: now, or when it is connected again."""

    async def work(client: Client) -> None:
        asked = await client.ask("POST", path("gateways", gateway, "sealing-key", "rotation"), GatewayAccounts)
        tables.show(asked, Text(f"{gateway} will make a new sealing key and seal its accounts anew."), output)

    with_client(work, output=output)


def _account(*, server: str, user: str, password: str, thumbprint: str | None) -> CloudAccount:
    try:
        return CloudAccount(server=server, user=user, password=SecretStr(password), thumbprint=thumbprint)
    except ValidationError as fault:
        first = fault.errors(include_input=False)[0]
        raise AccountInvalidError(f"{first['loc'][0]}: {first['msg']}") from None


def _password(given: Path | None) -> str:
    if given is None and asking.can_ask():
        typed = asking.secret("vCenter password")
        if not typed:
            raise AccountInvalidError("a password is needed")
        return typed
    return secretfile.read(given or Path("-"))


def _seal(shown: SealingKeyFor, account: CloudAccount) -> SealedBody:
    label = Label(shown.gateway_id, shown.account, account.kind, shown.version)
    sealed = sealing.seal(shown.key, label, content_of(account))
    return SealedBody(kind=sealed.kind, version=sealed.version, key_id=sealed.key_id, sealed=sealed.sealed)


def _show_fingerprint(gateway: str, words: str, *, is_new: bool) -> None:
    sys.stderr.write(f"{gateway} has the fingerprint {words}.\n")
    if is_new:
        sys.stderr.write(
            "It is met for the first time: `pcg appliance status` on the appliance shows the same words.\n"
        )


def _of(gateway: str, account: str) -> str:
    return path("gateways", gateway, "accounts", account)
