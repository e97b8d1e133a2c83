"""This file is the question: is the tunnel as fast, fair and quick to answer as what a user would choose instead?

`make bench-tunnel`, or `python -m benchmarks.tunnel --cache DIRECTORY [--quick] [--runs N] [--roads ours,stunnel]`.
Nothing is left behind, whatever way it ends.
"""

import argparse
import itertools
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.tunnel import measures, report, slow_link, tools
from benchmarks.tunnel.findings import LIMIT, OURS, SSH, SSH_GCM, Findings
from benchmarks.tunnel.links import LINKS
from benchmarks.tunnel.measures import FULL, QUICK, Round
from benchmarks.tunnel.ours import Ours
from benchmarks.tunnel.processes import Place
from benchmarks.tunnel.roads import Chisel, Road, Site, Ssh, Stunnel, Wstunnel
from benchmarks.tunnel.tools import Tools

PARTS = ("loopback", "stalled", "links")
ROADS: tuple[Road, ...] = (
    Ours(OURS),
    Ours("ours, asyncio's loop", loop="default"),
    Stunnel(),
    Ssh(SSH),
    Ssh(SSH_GCM, "-c", "aes128-gcm@openssh.com"),
    Chisel(),
    Wstunnel(),
)
ON_LINKS = (OURS, SSH, "chisel")
ROUNDS_ON_LINKS = 3
WITH_STALLED = (OURS, SSH, "stunnel")
NAMES = [LIMIT, "websockets, no TCP", *(road.name for road in ROADS)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.tunnel")
    parser.add_argument("--cache", type=Path, required=True, help="where programs are built and were installed")
    parser.add_argument("--runs", type=int, default=0, help="rounds; 5, or 1 when quick")
    parser.add_argument("--quick", action="store_true", help="short and rough; nothing is written to results")
    parser.add_argument("--roads", default="", help="only these, by name, with semicolons between")
    parser.add_argument("--parts", default=",".join(PARTS), help="only these of " + ", ".join(PARTS))
    parser.add_argument("--slow-link", type=float, metavar="SECONDS", help="only: hold a saturated 1 Mbit/s that long")
    return parser.parse_args()


def measure(tools: Tools, given: argparse.Namespace) -> Findings:
    """Measure everything, the roads in turn, round after round."""
    found = Findings()
    present = [road for road in ROADS if _is_here(road, tools, found)]
    wanted = given.roads.split(";") if given.roads else NAMES
    chosen = [road for road in present if road.name in wanted]
    for turn in range(given.runs or (1 if given.quick else 5)):
        print(f"round {turn + 1}", file=sys.stderr, flush=True)
        _round(Round(found, turn, QUICK if given.quick else FULL), chosen, given.parts.split(","), tools)
    return found


def _is_here(road: Road, tools: Tools, found: Findings) -> bool:
    missing = road.missing(tools)
    if missing is not None:
        found.faults.append(f"{road.name}: not measured, {missing}")
    return missing is None


def _round(one: Round, chosen: list[Road], parts: list[str], tools: Tools) -> None:
    here = Site(tools, Place(), Place())
    if "loopback" in parts:
        measures.limits(tools, one)
        for road in chosen:
            with one.carefully(road):
                measures.road(road, here, one)
    if "stalled" in parts:
        for road in chosen:
            if road.name in WITH_STALLED:
                with one.carefully(road):
                    measures.stalled(road, here, one)
    if "links" in parts and one.turn < ROUNDS_ON_LINKS:
        for link, road in itertools.product(LINKS, chosen):
            if road.name in ON_LINKS:
                with one.carefully(road):
                    measures.on_link(road, link, tools, one)


def main() -> None:
    """Measure, show, and write it down."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = arguments()
    if os.geteuid() != 0 and (given.slow_link or "links" in given.parts):
        sys.exit("links are network namespaces, so run it as root, or leave them out: --parts loopback,stalled")
    with tempfile.TemporaryDirectory(prefix="pcg-bench-") as directory:
        tools_here = tools.prepare(given.cache, Path(directory))
        if given.slow_link:
            print(slow_link.hold(tools_here, seconds=given.slow_link))
            return
        before = os.getloadavg()[1]
        found = measure(tools_here, given)
    report.show(found, NAMES)
    print("\n".join(found.faults))
    if not given.quick:
        report.write(
            found, NAMES, machine_note=f"Others kept the machine busy before it began: a load of {before:.1f}."
        )
    print(f"{os.cpu_count()} cores, {platform.release()}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
