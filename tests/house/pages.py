"""This file is the pages of docs/ that are made from the code; `make docs` writes them, a test compares them."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import gateway
from gateway.appliance.settings import ApplianceSettings
from gateway.cli.exits import BY_REMEDY, Exit
from gateway.cli.main import PROGRAMS, application
from gateway.cli.session import CliSettings
from gateway.console.settings import ConsoleSettings
from gateway.kit.errors import GatewayError, every_error_class
from gateway.lab.settings import LabSettings
from tests.house.policypage import policy_page
from tests.house.schema import schema_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SETTINGS: dict[str, type[BaseSettings]] = {
    "Console": ConsoleSettings,
    "Appliance": ApplianceSettings,
    "Command line": CliSettings,
    "Lab": LabSettings,
}
NOTE = "<!-- made by `make docs` from the code; change it there -->\n"


def import_everything() -> list[str]:
    """Import every module of the product, so that what they declare is known; return their names."""
    names = [
        found.name
        for found in pkgutil.walk_packages(gateway.__path__, "gateway.")
        if not found.name.endswith("__main__") and ".migrations." not in found.name
    ]
    for name in names:
        importlib.import_module(name)
    return names


def product_errors() -> list[type[GatewayError]]:
    """Return every error class of the product."""
    import_everything()
    return [one for one in every_error_class() if one.__module__.startswith("gateway.")]


def errors_page() -> str:
    """Return docs/errors.md."""
    rows = [
        f"| `{one.code}` | {_first_line(one)} | {one.remedy} | {int(BY_REMEDY[one.remedy])} |"
        for one in product_errors()
    ]
    return "\n".join(
        [
            NOTE,
            "# Errors",
            "",
            "Every error has a stable code. The remedy says who can help: `caller` (whoever asked), `operator`",
            "(whoever runs the console or the data centre), `retry` (the same may work later), `developer` (a defect",
            "of ours). The last column is the exit code of `pcg`; a command that a gateway carried out and that ended",
            f"badly exits with {int(Exit.FAILED)}, whatever its code.",
            "",
            "| code | meaning | remedy | exit |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _first_line(error: type[GatewayError]) -> str:
    return (error.__doc__ or "").strip().splitlines()[0]


def settings_page() -> str:
    """Return docs/settings.md."""
    parts = [
        NOTE,
        "# Settings",
        "",
        "Options of the command line go before the environment, that goes before defaults.",
    ]
    for title, settings in SETTINGS.items():
        rows = [_setting(name, field) for name, field in _fields(settings)]
        parts += ["", f"## {title}", "", "| variable | meaning | default |", "| --- | --- | --- |", *rows]
    return "\n".join([*parts, ""])


def every_setting() -> list[tuple[str, FieldInfo]]:
    """Return every setting of every program: its variable, and its field."""
    return [pair for settings in SETTINGS.values() for pair in _fields(settings)]


def _fields(settings: type[BaseSettings]) -> list[tuple[str, FieldInfo]]:
    prefix = settings.model_config.get("env_prefix", "")
    return [(f"{prefix}{name}".upper(), field) for name, field in settings.model_fields.items()]


def _setting(name: str, field: FieldInfo) -> str:
    default = "" if field.default_factory is not None or field.default is None else f"`{field.default}`"
    return f"| `{name}` | {' '.join((field.description or '').split())} | {default} |"


def cli_page() -> str:
    """Return docs/cli.md."""
    codes = [f"| {int(one)} | {_meaning(one)} |" for one in Exit]
    head = [NOTE, "# Command line", "", "| exit | meaning |", "| --- | --- |", *codes, ""]
    return "\n".join([*head, *_command("pcg", typer.main.get_command(application(PROGRAMS)))])


def _meaning(code: Exit) -> str:
    meanings = {
        Exit.OK: "done",
        Exit.FAILED: "a gateway carried the command out and it ended badly",
        Exit.INPUT: "what was asked is wrong: mend the arguments or the file; also a question answered with no",
        Exit.RETRY: "somebody does not answer now, or `--timeout` ran out: the same may work later",
        Exit.OPERATOR: "something in the console or the data centre must be put right first",
        Exit.DEFECT: "a defect of ours; with `PCG_DEBUG=1` it is told whole",
        Exit.INTERRUPTED: "Ctrl-C; a command that was sent goes on",
        Exit.PIPE_CLOSED: "whoever read the output has gone; a command that was sent goes on",
    }
    return meanings[code]


def _command(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401 - typer brings its own click, untyped
    """Yield the lines of a command, or of each command of a group."""
    if hasattr(command, "commands"):
        for sub, found in sorted(command.commands.items()):
            yield from _command(f"{name} {sub}", found)
        return
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    yield from (f"## {' '.join([name, *(str(one.name).upper() for one in arguments)])}", "", command.help or "", "")
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    if options:
        yield from ("| option | meaning |", "| --- | --- |")
        for option in options:
            spelled = ", ".join(f"`{text}`" for text in (*option.opts, *option.secondary_opts))
            yield f"| {spelled} | {' '.join((option.help or '').split())} |"
        yield ""


PAGES = {
    "errors.md": errors_page,
    "settings.md": settings_page,
    "cli.md": cli_page,
    "policy.md": policy_page,
    "protocol.schema.json": schema_page,
}


if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make())
