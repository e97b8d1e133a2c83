"""This file is how a command is waited for, and how a cluster is watched.

::

    sent --> waiting --> ended well | ended badly (exit 1)
                |------> out of patience (exit 3), or Ctrl-C (exit 130): the command goes on, and this is said
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from gateway.cli import progress
from gateway.cli.arguments import path
from gateway.cli.client import Client
from gateway.cli.exits import AnsweredError, CommandEndedBadlyError
from gateway.cli.plain import plain
from gateway.cli.progress import ClusterProgress, Progress
from gateway.cli.showing import shower
from gateway.cli.tables import Output
from gateway.console.api.models import ClusterView, CommandView, GatewayStatus, GatewayView, WatchedEvent
from gateway.console.records import CommandState
from gateway.contract.events import CommandOutcome
from gateway.contract.problems import Problem
from gateway.identity.pinned import ConsoleUnreachableError
from gateway.kit import moments
from gateway.kit.errors import GatewayError, Remedy

ASK_EVERY = 0.3
Seconds: TypeAlias = float


class StillGoingError(GatewayError):
    """A command takes longer than one would wait; it goes on."""

    code = "cli.still_going"
    remedy = Remedy.RETRY


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a command is waited for (None: until it ends), and how its waiting is taken up again, in words."""

    seconds: Seconds | None
    again: str


async def until_ended(
    client: Client, command: CommandView, *, title: str, output: Output, patience: Patience
) -> Progress:
    """Show a command until it has ended and return what is known then.

    Raises CommandEndedBadlyError when it has not succeeded, StillGoingError when patience ends first.
    """
    with _patiently(patience):
        async with asyncio.timeout(patience.seconds):
            known = await _shown_to_the_end(client, command, title=title, output=output)
    _check(known)
    return known


async def result(client: Client, command: CommandView, *, patience: Patience) -> CommandView:
    """Wait until a command has ended and return it with its result; for commands too short to be watched.

    Raises as `until_ended` does.
    """
    with _patiently(patience):
        async with asyncio.timeout(patience.seconds):
            while not (command.state.has_ended or command.ended_at):
                await asyncio.sleep(ASK_EVERY)
                command = await client.ask("GET", path("commands", str(command.id)), CommandView)
    if command.state is not CommandState.SUCCEEDED:
        raise CommandEndedBadlyError(command.problem or _NO_REASON)
    return command


async def for_ever(client: Client, cluster: ClusterView, *, output: Output) -> None:
    """Show what happens to a cluster from its last command on, if that has not ended, until interrupted.

    Names are used again: what happened to earlier clusters of the name, and what has ended, is left out.
    """
    known = ClusterProgress(machines={one.name: one for one in cluster.machines})
    with shower(f"Cluster {cluster.name}", output) as shown:
        shown.begin(known)
        async with aclosing(client.watch(cluster=cluster.name)) as events:
            async for event in events:
                if isinstance(event, ConsoleUnreachableError):
                    shown.trouble(event)
                elif _is_news(event, cluster.last_command):
                    known = progress.after_any(known, event)
                    shown.show(event, known)


async def say_if_waiting(client: Client, gateway: str) -> None:
    """Say on standard error when a command has to wait for its gateway."""
    try:
        view = await client.ask("GET", path("gateways", gateway), GatewayView)
    except AnsweredError:
        return  # removed meanwhile, which the command itself will tell
    if view.status is not GatewayStatus.CONNECTED:
        _say(
            f"{view.name} is not connected ({_seen(view.last_seen_at)}); the command waits for it; "
            "Ctrl-C leaves it waiting"
        )


async def _shown_to_the_end(client: Client, command: CommandView, *, title: str, output: Output) -> Progress:
    known = Progress()
    with shower(title, output) as shown:
        async with aclosing(client.watch(command=command.id)) as events:
            async for event in events:
                if isinstance(event, ConsoleUnreachableError):
                    shown.trouble(event)
                    continue
                known = progress.after(known, event)
                shown.show(event, known)
                if known.ended is not None:
                    break
    return known


def _is_news(event: WatchedEvent, last: CommandView | None) -> bool:
    """Tell whether an event is of the last command, while that goes on, or of a later one: their ids sort by time."""
    if last is None:
        return True
    return event.command_id > last.id or (event.command_id == last.id and not last.state.has_ended)


@contextmanager
def _patiently(patience: Patience) -> Iterator[None]:
    try:
        yield
    except TimeoutError as fault:
        raise StillGoingError(
            f"it has not ended within {patience.seconds:g} s and goes on; {patience.again}"
        ) from fault
    except asyncio.CancelledError:
        _say(f"the command goes on; {patience.again}")
        raise


def _say(sentence: str) -> None:
    sys.stderr.write(f"{plain(sentence)}\n")
    sys.stderr.flush()


def _seen(when: datetime | None) -> str:
    return f"last seen {moments.second(when)}" if when else "never seen"


_DISPLACED = Problem(code="command.displaced", message="a later command took this one's place", remedy=Remedy.RETRY)
_NO_REASON = Problem(
    code="command.not_succeeded", message="the command has not succeeded; look at the cluster", remedy=Remedy.RETRY
)


def _check(known: Progress) -> None:
    ended = known.ended
    if ended is None or ended.outcome is CommandOutcome.SUCCEEDED:
        return
    raise CommandEndedBadlyError(
        ended.problem or (_DISPLACED if ended.outcome is CommandOutcome.CANCELLED else _NO_REASON)
    )
