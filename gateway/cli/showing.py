"""This file is how what is watched is shown: a picture on a terminal, lines elsewhere, JSON lines for programs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live

from gateway.cli import progress, tables
from gateway.cli.plain import plain
from gateway.cli.progress import ClusterProgress, Progress
from gateway.cli.tables import Output
from gateway.console.api.models import WatchedEvent
from gateway.identity.pinned import ConsoleUnreachableError

Known = Progress | ClusterProgress


class Lines:
    """One plain line an event, for logs and pipes."""

    def __init__(self) -> None:
        self._in_trouble = False

    def begin(self, known: Known) -> None:
        """Show what is known before the first event: nothing, in lines."""

    def show(self, event: WatchedEvent, _known: Known) -> None:
        """Write an event."""
        self._in_trouble = False
        text = progress.line(event)
        if text:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        made = progress.plan_in(event)
        if made is not None:
            tables.screen().print(tables.plan(made))

    def trouble(self, error: ConsoleUnreachableError) -> None:
        """Say once that the console does not answer."""
        if not self._in_trouble:
            sys.stderr.write(f"{plain(error.message)}; trying again\n")
        self._in_trouble = True


class JsonLines(Lines):
    """One JSON object an event, for programs."""

    def show(self, event: WatchedEvent, _known: Known) -> None:
        """Write an event."""
        self._in_trouble = False
        sys.stdout.write(event.model_dump_json(ensure_ascii=True) + "\n")
        sys.stdout.flush()


class Picture:
    """A picture that is drawn anew with each event, for terminals."""

    def __init__(self, title: str, live: Live) -> None:
        self._title = title
        self._live = live
        self._in_trouble = False

    def begin(self, known: Known) -> None:
        """Draw what is known before the first event."""
        self._live.update(tables.live(self._title, known))

    def show(self, event: WatchedEvent, known: Known) -> None:
        """Draw what is known."""
        self._in_trouble = False
        made = progress.plan_in(event)
        if made is not None:
            self._live.console.print(tables.plan(made))
        self._live.update(tables.live(self._title, known))

    def trouble(self, error: ConsoleUnreachableError) -> None:
        """Say once above the picture that the console does not answer."""
        if not self._in_trouble:
            self._live.console.print(f"{plain(error.message)}; trying again", style="yellow")
        self._in_trouble = True


@contextmanager
def shower(title: str, output: Output) -> Iterator[Lines | Picture]:
    """Hand out what shows events, as suits `output` and the place that standard output leads to."""
    screen = tables.screen()
    if output is Output.JSON:
        yield JsonLines()
    elif screen.is_terminal and not screen.is_dumb_terminal:
        with Live(console=screen, refresh_per_second=4) as live:
            yield Picture(title, live)
    else:
        yield Lines()
