"""This file is the load on a road: the target behind it, and what the user before it saw."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.tunnel.processes import Place
from benchmarks.tunnel.tools import Tools

SLACK = 60.0
MOST_BESIDE = 60.0


class LoadBrokeError(Exception):
    """The user's program did not end well: the road cut it."""


@dataclass(frozen=True)
class Bulk:
    """What arrived in the measured seconds, and over the whole run; the poorest and the richest stream's share."""

    bytes: int
    seconds: float
    moved: int
    least: int = 0
    most: int = 0

    @property
    def rate(self) -> float:
        """MB/s, 10^6 bytes."""
        return self.bytes / self.seconds / 1e6


@dataclass(frozen=True)
class Times:
    """Microseconds."""

    count: int
    p50: float
    p99: float
    most: float


@dataclass(frozen=True)
class Load:
    """A target and the users of a road that leads to it."""

    tools: Tools
    console: Place
    target: int

    @property
    def _counters(self) -> str:
        return str(self.tools.directory / "counters")

    def bulk(self, port: int, direction: str, streams: int, *, warm: float, seconds: float) -> Bulk:
        """Saturate `streams` streams "down" (target to user) or "up"."""
        return Bulk(**_said(self._user(port, direction, streams, warm, seconds, self._counters)))

    def open_times(self, port: int, count: int, *, rest: float = 0.0) -> Times:
        """Open streams one after the other, `rest` seconds apart: from connect to the first byte echoed."""
        return Times(**_said(self._user(port, "open", count, rest)))

    def request_times(self, port: int, seconds: float) -> Times:
        """Ask 64 bytes and get them back, one by one, on a connection of its own."""
        return Times(**_said(self._user(port, "ask", seconds)))

    def request_times_beside(self, port: int, streams: int, *, warm: float, seconds: float) -> tuple[Times, Bulk]:
        """The same while `streams` bulk streams saturate downwards, from before the first request to after the last."""
        with self.begun(port, "down", streams, warm=warm, seconds=MOST_BESIDE) as bulk:
            self.wait(warm)
            times = self.request_times(port, seconds)
            return times, bulk.ended()

    @contextmanager
    def begun(self, port: int, direction: str, streams: int, *, seconds: float, warm: float = 1.0) -> Iterator["Begun"]:
        """Have bulk run beside the body; with no streams there is none."""
        if streams == 0:
            yield Begun(None, seconds)
            return
        user = self._user(port, direction, streams, warm, seconds, self._counters)
        try:
            yield Begun(user, seconds)
        finally:
            user.kill()
            user.communicate()

    @contextmanager
    def holding(self, port: int, streams: int, *, stalled: bool = False) -> Iterator[None]:
        """Have open streams for the body: idle, or such that the target fills and nobody reads."""
        user = self._user(port, "stall" if stalled else "hold", streams)
        try:
            assert user.stdout is not None
            if not user.stdout.readline():
                raise LoadBrokeError("streams could not be opened")
            yield
        finally:
            user.kill()
            user.communicate()

    def wait(self, seconds: float) -> None:
        """Let things settle."""
        subprocess.run(["sleep", str(seconds)], check=True)

    def _user(self, port: int, *words: object) -> subprocess.Popen[str]:
        argv = [self.tools.built("user"), str(port), *(str(word) for word in words)]
        return subprocess.Popen(
            self.console.command(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@dataclass(frozen=True)
class Begun:
    """Bulk that runs."""

    user: subprocess.Popen[str] | None
    seconds: float

    def result(self) -> Bulk:
        """Wait for its end. Raises LoadBrokeError."""
        assert self.user is not None
        return Bulk(**_said(self.user, limit=self.seconds + SLACK))

    def ended(self) -> Bulk:
        """End it now. Raises LoadBrokeError."""
        assert self.user is not None
        self.user.terminate()
        return self.result()


def _said(user: subprocess.Popen[str], *, limit: float = SLACK) -> dict[str, Any]:
    try:
        out, err = user.communicate(timeout=limit)
    except subprocess.TimeoutExpired as fault:
        raise LoadBrokeError("the user's program did not end") from fault
    finally:
        user.kill()
        user.wait()
    if user.returncode != 0:
        raise LoadBrokeError(err.strip())
    found: dict[str, Any] = json.loads(out)
    return found


@contextmanager
def target_behind(tools: Tools, console: Place, appliance: Place) -> Iterator[Load]:
    """Have a target on the appliance's loopback for the body."""
    (tools.directory / "counters").unlink(missing_ok=True)
    argv = appliance.command([tools.built("target"), str(tools.directory / "counters")])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as program:
        try:
            assert program.stdout is not None
            yield Load(tools, console, int(program.stdout.readline()))
        finally:
            program.kill()
