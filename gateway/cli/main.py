"""This file is `pcg`: every command, and the one place where an error becomes a sentence and an exit code."""

import importlib
import os
import re
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

import typer

import gateway
from gateway.cli import audit, clusters, commanding, gateways, login, tokens
from gateway.cli.exits import Exit
from gateway.cli.options import told
from gateway.cli.tables import Output

PROGRAMS = {
    "account": "gateway.cli.accounts",
    "appliance": "gateway.appliance.commands",
    "approve": "gateway.cli.approve",
    "console": "gateway.console.commands",
    "demo": "gateway.lab.demo",
    "doctor": "gateway.cli.doctor",
    "lab": "gateway.lab.commands",
    "tunnel": "gateway.cli.tunnel",
}
"""Commands whose modules bring a whole program along: loaded only when asked for, so that the others start fast."""

SINGLE = {"demo", "doctor"}
"""Those of PROGRAMS that are one command each, a function of that name."""


def application(programs: Collection[str]) -> typer.Typer:
    """Return the application with the user's commands and the named ones of PROGRAMS."""
    app = typer.Typer(
        name="pcg",
        help="Private cloud gateway: manage Kubernetes clusters on your own vSphere from outside.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("login")(login.login)
    app.command("logout")(login.logout)
    app.command("version")(version)
    app.add_typer(audit.app, name="audit")
    app.add_typer(clusters.app, name="cluster")
    app.add_typer(commanding.app, name="command")
    app.add_typer(gateways.gateway_app, name="gateway")
    app.add_typer(tokens.token_app, name="token")
    for name in programs:
        module = importlib.import_module(PROGRAMS[name])
        if name in SINGLE:
            app.command(name)(getattr(module, name))
        else:
            app.add_typer(module.app, name=name)
    return app


def version() -> None:
    """Print the version."""
    typer.echo(gateway.__version__)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run `pcg` and exit with one of gateway.cli.exits.Exit. Nobody who uses it sees a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _repair_streams()
    code = _code_of(arguments)
    if code == Exit.INTERRUPTED:
        sys.stderr.write("interrupted\n")
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()
    sys.exit(code)


def _code_of(arguments: list[str]) -> str | int | None:
    try:
        with told(Output.JSON if _wants_json(arguments) else Output.TABLE):
            code = _run(arguments)
            sys.stdout.flush()
            return code
    except SystemExit as left:
        # typer turns a closed pipe into exit code 1, which means something else here.
        return Exit.PIPE_CLOSED if isinstance(left.__context__, BrokenPipeError) else left.code
    except BrokenPipeError:
        return Exit.PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED


def _run(arguments: list[str]) -> int:
    asked = arguments[0] if arguments else ""
    known = {"audit", "cluster", "gateway", "token", "login", "logout", "version"}
    programs = [] if asked in known else [asked] if asked in PROGRAMS else list(PROGRAMS)
    command = typer.main.get_command(application(programs))
    try:
        code = command.main(arguments, prog_name="pcg", standalone_mode=False)
    except typer.TyperException as fault:
        # Called without a command: its help was shown already, and there is nothing to add.
        if type(fault).__name__ == "NoArgsIsHelpError":
            return int(Exit.INPUT)
        raise
    return code if isinstance(code, int) else int(Exit.OK)


def _wants_json(arguments: list[str]) -> bool:
    text = " ".join(arguments)
    return re.search(r"(^| )(-o ?|--output[ =])json( |$)", text) is not None


def _repair_streams() -> None:
    """Give closed standard streams a place to write to, and let no letter be too much for the terminal's encoding."""
    nowhere = Path(os.devnull)
    sys.stdout = sys.stdout or nowhere.open("w")
    sys.stderr = sys.stderr or nowhere.open("w")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Lead standard output nowhere: what is left in its buffer is for nobody, and the interpreter would complain."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
