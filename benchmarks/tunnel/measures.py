"""This file is what is measured on a road, in one round."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tunnel import roads
from benchmarks.tunnel.findings import DIRECTIONS, LIMIT, OPEN, REQUEST, Findings, beside, bulk
from benchmarks.tunnel.links import Link, linked
from benchmarks.tunnel.load import Bulk, Load, LoadBrokeError, target_behind
from benchmarks.tunnel.processes import DidNotStartError
from benchmarks.tunnel.roads import Laid, Road, Site
from benchmarks.tunnel.tools import Tools

ROOT = Path(__file__).parents[2]
STALLED = 200
HELD = 100


@dataclass(frozen=True)
class Pace:
    """How long is measured, in seconds, and how often."""

    warm: float
    seconds: float
    opens: int
    link_seconds: float


FULL = Pace(warm=0.4, seconds=1.0, opens=20, link_seconds=6.0)
QUICK = Pace(warm=0.2, seconds=0.3, opens=10, link_seconds=2.0)


@dataclass(frozen=True)
class Round:
    """One turn of everything: where the values go."""

    found: Findings
    turn: int
    pace: Pace

    def add(self, road: str, measure: str, value: float, unit: str) -> None:
        self.found.add(road, measure, value, unit, turn=self.turn)

    @contextmanager
    def carefully(self, road: Road) -> Iterator[None]:
        """Have the body measure; what breaks is written down and the rest goes on."""
        try:
            yield
        except (LoadBrokeError, DidNotStartError, subprocess.SubprocessError) as fault:
            said = f"{road.name}, round {self.turn + 1}: {fault}"
            self.found.faults.append(said.splitlines()[0])
            print(said, file=sys.stderr, flush=True)


def limits(tools: Tools, one: Round) -> None:
    """Measure TLS between two C processes, and a plain WebSocket of the library."""
    files = [
        str(path) for path in (tools.certificates.authority, tools.certificates.certificate, tools.certificates.key)
    ]
    times = [str(one.pace.warm), str(one.pace.seconds)]
    said = json.loads(_output([tools.built("tls_limit"), *files, *times]))
    whole = Bulk(said["bytes"], said["seconds"], said["moved"])
    one.add(LIMIT, bulk(1, "down"), whole.rate, "MB/s")
    one.add(LIMIT, f"CPU for {bulk(1, 'down')}", said["cpu"] / whole.moved * 1e9, "s/GB")
    plain = json.loads(_output([sys.executable, "-m", "benchmarks.tunnel.raw_websockets", *files, *times]))
    for way in DIRECTIONS:
        one.add("websockets, no TCP", bulk(1, way), plain[way], "MB/s")


def _output(argv: list[str]) -> str:
    return subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout


def road(road: Road, site: Site, one: Round) -> None:
    """Measure everything on loopback that is measured on every road."""
    with target_behind(site.tools, site.console, site.appliance) as load, roads.laid(road, site, load.target) as laid:
        one.add(road.name, "memory idle, console's end", laid.ends.console.memory_mb(), "MB")
        one.add(road.name, "memory idle, appliance's end", laid.ends.appliance.memory_mb(), "MB")
        load.open_times(laid.port, 3)
        _latency(road.name, load, laid, one)
        _per_stream(road.name, load, laid, one)
        for streams in (1, 10, 100):
            for way in DIRECTIONS:
                _bulk(road.name, load, laid, one, streams, way)
        for streams in (1, 10):
            laid.ends.settle()
            pace = one.pace
            times, _ = load.request_times_beside(laid.port, streams, warm=pace.warm, seconds=1.5 * pace.seconds)
            one.add(road.name, beside(streams), times.p99 / 1e3, "ms")
            one.add(road.name, beside(streams).replace("p99", "p50"), times.p50 / 1e3, "ms")


def _latency(name: str, load: Load, laid: Laid, one: Round) -> None:
    one.add(name, OPEN, load.open_times(laid.port, one.pace.opens).p50 / 1e3, "ms")
    one.add(name, f"{OPEN} after a rest", load.open_times(laid.port, one.pace.opens // 2, rest=0.1).p50 / 1e3, "ms")
    times = load.request_times(laid.port, one.pace.seconds / 2)
    one.add(name, "request p50", times.p50 / 1e3, "ms")
    one.add(name, REQUEST, times.p99 / 1e3, "ms")


def _per_stream(name: str, load: Load, laid: Laid, one: Round) -> None:
    before = laid.ends.memory_mb()
    with load.holding(laid.port, HELD):
        more = laid.ends.memory_mb() - before
        one.add(name, "memory of an idle stream, both ends", more / HELD * 1e3, "kB")


def _bulk(name: str, load: Load, laid: Laid, one: Round, streams: int, way: str) -> None:  # noqa: PLR0917
    laid.ends.settle()
    before = laid.ends.cpu_seconds()
    saw = load.bulk(laid.port, way, streams, warm=one.pace.warm, seconds=one.pace.seconds)
    spent = laid.ends.cpu_seconds() - before
    one.add(name, bulk(streams, way), saw.rate, "MB/s")
    one.add(name, f"CPU for {bulk(streams, way)}", spent / saw.moved * 1e9, "s/GB")
    if streams > 1:
        one.add(name, f"poorest of {bulk(streams, way)}", saw.least / max(saw.most, 1), "of the richest")


def stalled(road: Road, site: Site, one: Round) -> None:
    """Measure what 200 readers that do not read cost another, and in memory."""
    with target_behind(site.tools, site.console, site.appliance) as load, roads.laid(road, site, load.target) as laid:

        def rate() -> float:
            return load.bulk(laid.port, "down", 1, warm=one.pace.warm, seconds=2 * one.pace.seconds).rate

        before = rate()
        with load.holding(laid.port, STALLED, stalled=True):
            laid.ends.settle()
            beside_them = rate()
            one.add(
                road.name, "memory with 200 stalled readers, appliance's end", laid.ends.appliance.memory_mb(), "MB"
            )
            one.add(road.name, "memory with 200 stalled readers, console's end", laid.ends.console.memory_mb(), "MB")
        laid.ends.settle()
        without = (before + rate()) / 2
        one.add(road.name, "1 stream down beside 200 stalled readers", beside_them, "MB/s")
        one.add(road.name, "1 stream down without them", without, "MB/s")
        one.add(road.name, "throughput lost to 200 stalled readers", 1 - beside_them / without, "of 1")


def on_link(road: Road, link: Link, tools: Tools, one: Round) -> None:
    """Measure requests, idle and beside one bulk stream, and that stream's rate."""
    with (
        linked(link, tools) as there,
        target_behind(tools, there.site.console, there.site.appliance) as load,
        roads.laid(road, there.site, load.target) as laid,
    ):
        idle = load.request_times(laid.port, one.pace.link_seconds / 3)
        seconds = one.pace.link_seconds
        busy, saw = load.request_times_beside(laid.port, 1, warm=seconds / 3, seconds=seconds)
        for when, times in (("idle", idle), ("beside bulk", busy)):
            one.add(road.name, f"{link.name}: request p50 {when}", times.p50 / 1e3, "ms")
            one.add(road.name, f"{link.name}: request p99 {when}", times.p99 / 1e3, "ms")
        one.add(road.name, f"{link.name}: {bulk(1, 'down')}", saw.rate, "MB/s")
