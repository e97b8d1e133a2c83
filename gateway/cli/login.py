"""This file is `pcg login` and `pcg logout`: which console to talk to, and as whom."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from gateway.cli import address, asking, session
from gateway.cli.arguments import ProjectOption
from gateway.cli.client import Client
from gateway.cli.options import told
from gateway.cli.plain import plain
from gateway.cli.session import Session
from gateway.console.api.models import WhoAmI
from gateway.identity import pinned
from gateway.identity.pinned import Claimed
from gateway.kit import secretfile
from gateway.kit.errors import GatewayError, Remedy


class PinUnknownError(GatewayError):
    """It is not known whether this is the right console."""

    code = "cli.pin_unknown"
    remedy = Remedy.CALLER


class ProjectUnknownError(GatewayError):
    """There is no project of that name, or it is not yours."""

    code = "cli.project_unknown"
    remedy = Remedy.CALLER


class KeyInvalidError(GatewayError):
    """This cannot be an API key."""

    code = "cli.key_invalid"
    remedy = Remedy.CALLER


def login(
    url: Annotated[str, typer.Argument(help="the console's address, https://HOST:8443")],
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="file that holds the API key; - for standard input")
    ] = None,
    pin: Annotated[
        str | None, typer.Option("--pin", help="the console's pin, sha256:…; asked for when left out on a terminal")
    ] = None,
    project: ProjectOption = "default",
) -> None:
    """Sign in to a console; the API key is read from a file or asked for, never from the command line."""
    with told():
        _login(address.checked(url), key_file, pin, project=project)


def logout() -> None:
    """Forget the console and the API key."""
    with told():
        session.forget()


def _login(url: str, key_file: Path | None, pin: str | None, *, project: str) -> None:
    # People are asked between two event loops, not inside one: there, Ctrl-C would wait for their answer.
    trust = _believed(url, asyncio.run(pinned.claimed_authority(url)), pin)
    candidate = Session(url=url, trust=trust, project=project, key=SecretStr(_key(key_file)))
    me = asyncio.run(_who_am_i(candidate))
    if project not in me.projects:
        raise ProjectUnknownError(f"there is no project {project!r}; you may use: {', '.join(me.projects) or 'none'}")
    path = session.write(candidate)
    typer.echo(f"Signed in to {url} as {plain(me.user)} of tenant {plain(me.tenant)}, project {project} ({path}).")


async def _who_am_i(candidate: Session) -> WhoAmI:
    async with Client.open(candidate) as client:
        return await client.ask("GET", "/whoami", WhoAmI)


def _believed(url: str, claimed: Claimed, pin: str | None) -> str:
    """Return the console's authority once its pin is the given one, or a person has said that it is."""
    shown = claimed.pin_text
    if pin is not None:
        if pin.strip().lower().removeprefix("sha256:") != shown.removeprefix("sha256:"):
            raise pinned.PinMismatchError(f"{url} has the pin {shown}, not the one given: this is another console")
        return claimed.trust
    if not asking.can_ask():
        raise PinUnknownError(
            f"{url} has the pin {shown}: compare it with the one that the console prints, then give it with --pin"
        )
    sys.stderr.write(f"The console's pin is\n  {shown}\nIt must be the one that the console prints at its start.\n")
    if not asking.confirmed("Is it?"):
        raise PinUnknownError("not signed in: the pin was not confirmed")
    return claimed.trust


def _key(key_file: Path | None) -> str:
    if key_file is None and asking.can_ask():
        key = asking.secret("API key")
    elif sys.stdin is None and str(key_file or "-") == "-":
        raise KeyInvalidError("there is no API key on standard input: give its file with --key-file")
    else:
        key = secretfile.read(key_file or Path("-"))
    if not session.KEY.fullmatch(key.strip()):
        raise KeyInvalidError("this is no API key: a key is one line that begins with pcgkey1_")
    return key.strip()
