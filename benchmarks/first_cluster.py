"""This file is the question: does a cluster of three come up in about the time of one, and how long is pairing?

Everything as a user runs it: `pcg` as processes, a lab, a console, an appliance; `make bench-first-cluster`.
"""

import asyncio
import os
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks import tables
from gateway.kit.clock import SystemClock
from gateway.lab import labs, site
from gateway.lab.site import Site

RUNS = 5
HERE = Path(__file__).parent
CLOCK = SystemClock()


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    began = CLOCK.monotonic()
    await work()
    return CLOCK.monotonic() - began


async def pairing(place: Site, run: int) -> float:
    """From `pcg token create` to connected, with an appliance that was never paired."""
    state = place.directory / f"appliance-{run}"
    name = f"dc-{run}"

    async def pair() -> None:
        token = await place.must("token", "create", name)
        place.token_file.write_text(token)
        argv = list(place.appliance.argv)
        argv[argv.index("--state") + 1] = str(state)
        program = site.Program(argv, place.directory / f"{name}.log", "connected", place.environment)
        await program.start()
        await program.kill()

    return await timed(pair)


async def cluster(place: Site, run: int, *, workers: int) -> tuple[float, float]:
    name = f"bench-{workers}-{run}"
    path = place.directory / f"{name}.yaml"
    path.write_text(site.cluster_file(place.lab, name, workers=workers))
    up = await timed(lambda: place.must("cluster", "apply", "-f", str(path)))
    down = await timed(lambda: place.must("cluster", "delete", name, "--yes"))
    return up, down


async def measure() -> dict[str, list[float]]:
    found: dict[str, list[float]] = {key: [] for key in ("pair", "one up", "three up", "one down", "three down")}
    with tempfile.TemporaryDirectory(prefix="pcg-bench-") as directory:
        async with labs.up(f"bench-{os.getpid()}") as lab, site.open_site(lab, Path(directory)) as place:
            for run in range(RUNS):
                found["pair"].append(await pairing(place, run))
                for key, workers in (("one", 0), ("three", 2)):
                    up, down = await cluster(place, run, workers=workers)
                    found[f"{key} up"].append(up)
                    found[f"{key} down"].append(down)
    return found


def report(found: dict[str, list[float]]) -> None:
    medians = {key: statistics.median(values) for key, values in found.items()}
    tables.write(
        "first_cluster",
        question="Does a cluster of three machines come up in about the time of one, and how long does pairing take?",
        runs=found,
        unit="s",
        ratios={
            "three_up_vs_one_up": round(medians["three up"] / medians["one up"], 2),
            "three_down_vs_one_down": round(medians["three down"] / medians["one down"], 2),
        },
    )
    print(tables.page())


if __name__ == "__main__":
    report(asyncio.run(measure()))
