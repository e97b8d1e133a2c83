"""This file is `pcg appliance`: what is done on the appliance itself."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr, ValidationError

from gateway.appliance import daemon, governing, leaving, outward, oversight, pairing, showing
from gateway.appliance import sealed as sealed_accounts
from gateway.appliance.identity import Identity, Paired
from gateway.appliance.oversight import Output, OutputOption, StateOption
from gateway.appliance.settings import ApplianceSettings
from gateway.appliance.targets import Targets
from gateway.clouds import registry
from gateway.clouds.accounts import AccountInvalidError, Accounts, CloudAccount
from gateway.identity import words
from gateway.kit import files, logs, loops, secretfile
from gateway.kit.files import AlreadyRunningError
from gateway.kit.plain import plain

app = typer.Typer(help="The appliance, from the inside of the data centre.", no_args_is_help=True)
account_app = typer.Typer(help="Cloud accounts: kept on the appliance, never sent anywhere.", no_args_is_help=True)
app.add_typer(account_app, name="account")
app.add_typer(oversight.target_app, name="target")
app.command("audit")(oversight.audit)
app.add_typer(governing.policy_app, name="policy")
for governs in (governing.approvals, governing.approve, governing.pause, governing.resume, governing.lockdown):
    app.command(governs.__name__)(governs)
app.command("unpair")(leaving.unpair)


@app.command("run")
def run(
    state: StateOption = None,
    artifacts: Annotated[
        Path | None, typer.Option("--artifacts", help="directory of the packages brought to machines")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="registration token to pair with, if not paired yet")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="log more")] = False,
) -> None:
    """Run the appliance in the foreground until SIGTERM."""
    logs.configure(program="appliance", verbose=verbose)
    loops.run(daemon.run(_settings(state=state, artifacts=artifacts, token_file=token_file)))


@app.command("pair")
def pair(
    token_file: Annotated[
        Path, typer.Option("--token-file", help="file of the registration token; - for standard input")
    ],
    state: StateOption = None,
) -> None:
    """Pair with the console that made the token. Nothing secret is sent; the token's file is wiped once it is used.

    A token of `pcg gateway repair-token` also pairs an appliance that is paired already, with a new key in its place.
    """
    token = secretfile.read(token_file)
    if secretfile.close_to_others(token_file):
        typer.echo(f"{token_file} was open to others on this machine: it is closed to them now.", err=True)
    settings = _settings(state=state)
    identity = Identity.open(files.make_private_directory(settings.state), device_key=settings.device_key)
    paired = asyncio.run(_pair(identity, token, settings))
    if str(token_file) != "-":
        secretfile.wipe(token_file)
    typer.echo(f"Paired with {paired.console} as {paired.gateway_name}. {_what_next(settings.state)}")
    if identity.member().confirm:
        typer.echo(
            "It does nothing until it is confirmed: read the words below to whoever made the token, for "
            f"`pcg gateway confirm {paired.gateway_name}`."
        )
    typer.echo(f"Its fingerprint: {words.fingerprint(identity.device().public_pem)}.")


@app.command("status")
def status(*, output: OutputOption = Output.TABLE, state: StateOption = None) -> None:
    """Tell who this appliance is, how it stands with its console, and which accounts and targets it has."""
    directory = files.make_private_directory(_settings(state=state).state)
    found = showing.document(
        directory, accounts=list(_accounts(directory)), targets=Targets(directory / "targets").names()
    )
    (showing.show_json if output is Output.JSON else showing.show)(found)


@account_app.command("add")
def add_account(
    name: Annotated[str, typer.Argument(help="name that cluster files will call it by")],
    server: Annotated[str, typer.Option("--server", help="vCenter's host name or address, with :port unless 443")],
    user: Annotated[str, typer.Option("--user", help="user to sign in as")],
    password_file: Annotated[Path, typer.Option("--password-file", help="file of the password; - for standard input")],
    thumbprint: Annotated[
        str | None,
        typer.Option("--thumbprint", help="SHA-256 of vCenter's certificate, if no authority vouches for it"),
    ] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="sign in once before keeping it")] = True,
    state: StateOption = None,
) -> None:
    """Add a cloud account, or replace the one of that name; it goes before a sealed one of the same name."""
    password = SecretStr(secretfile.read(password_file))
    try:
        account = CloudAccount(server=server, user=user, password=password, thumbprint=thumbprint)
    except ValidationError as fault:
        first = fault.errors(include_input=False)[0]
        raise AccountInvalidError(f"{first['loc'][0]}: {first['msg']}") from None
    accounts = Accounts(files.make_private_directory(_settings(state=state).state) / "accounts")
    if check:
        product = asyncio.run(_look(account))
        typer.echo(plain(f"Signed in to {server}: {product}."))
    accounts.write(name, account)
    typer.echo(f"Account {name} is kept on this appliance.")


@account_app.command("list")
def list_accounts(state: StateOption = None) -> None:
    """List the cloud accounts, without their passwords: those added here, and those that came sealed."""
    directory = _settings(state=state).state
    accounts = Accounts(directory / "accounts")
    sealed = sealed_accounts.kept_names(directory)
    for name in accounts.names():
        account = accounts.read(name)
        hides = "\tinstead of the sealed one of that name" if name in sealed else ""
        typer.echo(f"{name}\t{account.kind}\t{account.server}\t{account.user}{hides}")
    for name in sealed:
        if name not in accounts.names():
            typer.echo(f"{name}\tsealed, through the console")


@account_app.command("remove")
def remove_account(name: Annotated[str, typer.Argument(help="the account's name")], state: StateOption = None) -> None:
    """Forget a cloud account."""
    Accounts(_settings(state=state).state / "accounts").remove(name)


def _accounts(state: Path) -> list[str]:
    return sorted({*Accounts(state / "accounts").names(), *sealed_accounts.kept_names(state)})


def _what_next(state: Path) -> str:
    try:
        with files.only_one(state):
            return "Start the appliance with `pcg appliance run`."
    except AlreadyRunningError:
        return "The appliance that is running takes it over by itself."


async def _pair(identity: Identity, token: str, settings: ApplianceSettings) -> Paired:
    return await pairing.pair(identity, token, roads=outward.first_roads(settings))


async def _look(account: CloudAccount) -> str:
    async with registry.KINDS[account.kind](account) as cloud:
        return (await cloud.inventory()).product


def _settings(**given: Path | None) -> ApplianceSettings:
    return ApplianceSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
