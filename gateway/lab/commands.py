"""This file is `pcg lab`: a lab from the command line."""

import asyncio
import signal
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.lab import labs
from gateway.lab.labs import Lab
from gateway.lab.records import MachineStatus

app = typer.Typer(
    no_args_is_help=True, help="A data centre on this machine: a simulated vCenter and real machines.", name="lab"
)

Name = Annotated[str, typer.Option("--name", "-n", help="Which lab; several can be up side by side.")]


class Output(StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"


@app.command()
def up(
    name: Name = labs.DEFAULT_NAME,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and end the lab on Ctrl-C.")] = False,
) -> None:
    """Raise a lab and say how to reach it; what is missing in the cache is built first."""
    console = Console(stderr=True)

    def say(words: str) -> None:
        console.print(words, highlight=False)

    if foreground:
        asyncio.run(_stay(name, say))
        return
    asyncio.run(_raise_lab(name, say))


@app.command()
def down(name: Name = labs.DEFAULT_NAME) -> None:
    """End a lab, or clear away what a crashed one has left."""
    console = Console(stderr=True)
    ended = asyncio.run(labs.down(name))
    asyncio.run(labs.sweep())
    console.print(f"lab {name} has ended" if ended else f"no lab {name} is up", highlight=False)


@app.command()
def status(
    name: Name = labs.DEFAULT_NAME,
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or for programs.")] = Output.TABLE,
) -> None:
    """Show a lab: how to reach it, and its machines."""
    lab = labs.attach(name)
    if output is Output.JSON:
        Console().print_json(data=_as_data(lab))
        return
    _print_reach(lab)
    Console().print(_table(lab.machines()))


async def _raise_lab(name: str, say: labs.Say) -> None:
    await labs.sweep()
    lab = await labs.start(name, say=say)
    _print_reach(lab)


async def _stay(name: str, say: labs.Say) -> None:
    await labs.sweep()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with labs.up(name, say=say) as lab:
        _print_reach(lab)
        say("Ctrl-C ends the lab")
        await stop.wait()


def _print_reach(lab: Lab) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for what, value in _reach(lab).items():
        table.add_row(what.replace("_", " "), str(value))
    Console().print(table, highlight=False)


def _reach(lab: Lab) -> dict[str, str | int]:
    return {
        "lab": lab.name,
        "vcenter": lab.vcenter_url,
        "vcenter_from_this_machine": f"https://{lab.outside_vcenter_host}",
        "user": lab.user,
        "password_file": str(lab.directory.password),
        "certificate": str(lab.ca_file),
        "thumbprint": lab.thumbprint,
        "template": lab.template,
        "console_address": lab.uplink_outside,
        "artifacts": str(lab.artifacts),
        "fault_rules": str(lab.directory.control),
        "enter": " ".join(lab.inside()),
    }


def _as_data(lab: Lab) -> dict[str, object]:
    status = lab.status()
    return {
        **_reach(lab),
        "ready": status.ready,
        "error": status.error,
        "machines": [one.model_dump() for one in status.machines],
    }


def _table(machines: list[MachineStatus]) -> Table:
    table = Table("VM", "name", "state", "address", "hostname", "boot (s)")
    for one in machines:
        seconds = "" if one.boot_seconds is None else f"{one.boot_seconds:.1f}"
        table.add_row(one.moid, one.name, one.state, one.address or "", one.hostname or "", seconds)
    return table
