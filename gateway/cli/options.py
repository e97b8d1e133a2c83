"""This file is the options that several commands share, and how a command is run and its errors told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from gateway.cli import exits, session
from gateway.cli.arguments import InputInvalidError
from gateway.cli.client import Client
from gateway.cli.tables import Output

OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="table for people, json for programs", show_default=True)
]


@contextmanager
def told(output: Output = Output.TABLE) -> Iterator[None]:
    """Turn an error inside into one sentence on standard error and an exit code; no traceback, whatever it is."""
    try:
        yield
    except (BrokenPipeError, typer.Abort, typer.Exit):
        raise
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the last place where an error has a reader
        exits.leave(error, as_json=output is Output.JSON, debug=_debug())


def with_client(work: Callable[[Client], Awaitable[None]], *, output: Output = Output.TABLE) -> None:
    """Run `work` with a client of the session's console."""

    async def opened() -> None:
        async with Client.open(session.read()) as client:
            await work(client)

    with told(output):
        asyncio.run(opened())


def _debug() -> bool:
    try:
        return session.settings().debug
    except InputInvalidError:
        return False
