"""This file is `pcg console command-key`: the keys that commands are signed with, for whoever runs the console.

Works on the state directory, while the console runs and while it does not; a running console uses a new key from the
next command on, and tells each gateway of it before.
"""

from pathlib import Path
from typing import Annotated

import typer

from gateway.console import settings
from gateway.console.keyring import ConsoleNotThereError
from gateway.identity import commandkeys
from gateway.identity.commandkeys import Ring

app = typer.Typer(help="The keys that commands are signed with.", no_args_is_help=True)

State = Annotated[Path | None, typer.Option("--state", help="directory of the console's state")]


@app.command("show")
def show(*, state: State = None) -> None:
    """Show the key that signs now, and those before it."""
    _show(commandkeys.read(_directory(state)))


@app.command("rotate")
def rotate(*, state: State = None) -> None:
    """Have a fresh key follow the present one, whose private half is then removed.

    Appliances take it on the word of the key before, however long they were away. When a key was stolen that is not
    enough, for the thief can give that word as well: pair the appliances anew with `pcg gateway repair-token`.
    """
    _show(commandkeys.rotate(_directory(state)))


def _directory(state: Path | None) -> Path:
    known = settings.read(**({} if state is None else {"state": state})).state
    if not (known / "command-keys").is_dir():
        raise ConsoleNotThereError(
            f"no console keeps command keys in {known}: name its directory with --state, or start it once",
            state=str(known),
        )
    return known / "command-keys"


def _show(ring: Ring) -> None:
    for number, step in enumerate(ring.handings, 1):
        typer.echo(f"{number:3}  {step.follows}  handed on")
    typer.echo(f"{len(ring.handings) + 1:3}  {ring.public}  signs")
