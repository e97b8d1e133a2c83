"""This file is how a forwarding tells what happens: lines for people, JSON lines for programs."""

import json
import sys
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console
from rich.text import Text

from gateway.cli import tables
from gateway.cli.forwarding import HOST, Carried
from gateway.cli.plain import plain, size
from gateway.cli.tables import Output
from gateway.contract.problems import problem_of
from gateway.contract.streams import UserPreamble
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError
from gateway.kit.logs import without_secrets

Fact = str | int | float | None


@dataclass(slots=True)
class Totals:
    """What went through in all."""

    connections: int = 0
    refused: int = 0
    sent: int = 0
    received: int = 0


@dataclass(slots=True)
class Lines:
    """One line an event: on standard output, and on standard error what went wrong."""

    wish: UserPreamble
    clock: Clock
    totals: Totals = field(default_factory=Totals)
    _screen: Console = field(default_factory=tables.screen)
    _in_trouble: bool = False

    def listening(self, port: int) -> None:
        """The local port is open."""
        where = f"{HOST}:{port}"
        self._say(f"{where} leads to {self.wish.target} behind {self.wish.gateway}; Ctrl-C ends it", "bold")

    def connected(self) -> None:
        """The tunnel is open."""
        if self._in_trouble:
            self._say("the tunnel to the console is open again", "green")
        self._in_trouble = False

    def disconnected(self, fault: GatewayError) -> None:
        """Say once that there is no tunnel."""
        if not self._in_trouble:
            _complain(f"{fault.message}; trying again")
        self._in_trouble = True

    def opened(self, number: int) -> None:
        """A connection has reached the target."""
        self.totals.connections += 1
        self._say(f"{self._now()} #{number} open", "green")

    def refused(self, number: int, fault: GatewayError) -> None:
        """A connection was not let through."""
        self.totals.refused += 1
        problem = problem_of(fault)
        _complain(f"{self._now()} #{number} refused: {problem.message} [{problem.code}]")

    def closed(self, number: int, carried: Carried) -> None:
        """A connection is over."""
        self._count(carried)
        fault = f", cut: {carried.fault}" if carried.fault else ""
        self._say(
            f"{self._now()} #{number} closed after {carried.seconds:.1f} s, {size(carried.sent)} sent, "
            f"{size(carried.received)} received{fault}",
            "yellow" if fault else "",
        )

    def summary(self) -> None:
        """Say what went through in all."""
        all_of_it = self.totals
        self._say(
            f"{all_of_it.connections} connections, {all_of_it.refused} refused, {size(all_of_it.sent)} sent, "
            f"{size(all_of_it.received)} received",
            "bold",
        )

    def _count(self, carried: Carried) -> None:
        self.totals.sent += carried.sent
        self.totals.received += carried.received

    def _say(self, line: str, style: str = "") -> None:
        self._screen.print(Text(plain(line), style=style))
        self._screen.file.flush()

    def _now(self) -> str:
        return _time(self.clock.now())


@dataclass(slots=True)
class JsonLines(Lines):
    """One JSON object an event."""

    def listening(self, port: int) -> None:
        """The local port is open."""
        self._write("listening", address=HOST, port=port, gateway=self.wish.gateway, target=self.wish.target)

    def connected(self) -> None:
        """The tunnel is open."""
        self._in_trouble = False
        self._write("connected")

    def disconnected(self, fault: GatewayError) -> None:
        """Say once that there is no tunnel."""
        if not self._in_trouble:
            self._write("disconnected", code=fault.code, message=fault.message)
        self._in_trouble = True

    def opened(self, number: int) -> None:
        """A connection has reached the target."""
        self.totals.connections += 1
        self._write("opened", connection=number)

    def refused(self, number: int, fault: GatewayError) -> None:
        """A connection was not let through."""
        self.totals.refused += 1
        problem = problem_of(fault)
        self._write("refused", connection=number, code=problem.code, message=problem.message, remedy=problem.remedy)

    def closed(self, number: int, carried: Carried) -> None:
        """A connection is over."""
        self._count(carried)
        self._write(
            "closed",
            connection=number,
            sent=carried.sent,
            received=carried.received,
            seconds=round(carried.seconds, 3),
            fault=carried.fault,
        )

    def summary(self) -> None:
        """Say what went through in all."""
        counted = self.totals
        self._write(
            "summary",
            connections=counted.connections,
            refused=counted.refused,
            sent=counted.sent,
            received=counted.received,
        )

    def _write(self, event: str, **facts: Fact) -> None:
        document = {"event": event, "at": self.clock.now().isoformat(), **facts}
        sys.stdout.write(without_secrets(json.dumps(document)) + "\n")
        sys.stdout.flush()


def teller(wish: UserPreamble, output: Output, clock: Clock) -> Lines:
    """Return who tells, as suits `output`."""
    return JsonLines(wish, clock) if output is Output.JSON else Lines(wish, clock)


def _complain(line: str) -> None:
    sys.stderr.write(without_secrets(plain(line)) + "\n")
    sys.stderr.flush()


def _time(when: datetime) -> str:
    return f"{when.astimezone():%H:%M:%S}"
