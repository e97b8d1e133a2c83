"""This file is many seeds, on every core; what is found is told with the seed that finds it."""

import concurrent.futures
import logging
import multiprocessing
import os
from collections.abc import Iterator

import structlog

from gateway.kit.clock import SystemClock
from tests.simulation.run import Outcome, one_seed

PIECE = 3


def quietly() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)


def outcomes(seeds: range) -> Iterator[Outcome]:
    """Run seeds on every core and return what came of them, in no particular order."""
    pieces = [seeds[at : at + PIECE] for at in range(0, len(seeds), PIECE)]
    workers = min(len(pieces), os.cpu_count() or 1)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=quietly) as pool:
        try:
            for waiting in concurrent.futures.as_completed([pool.submit(_piece, one) for one in pieces]):
                yield from waiting.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _piece(seeds: range) -> list[Outcome]:
    return [one_seed(seed) for seed in seeds]


def told(seeds: range, *, say: bool = False, until_first: bool = False) -> tuple[list[Outcome], str]:
    """Run seeds, all or until one breaks a promise; return those that did, and a sentence about all."""
    clock = SystemClock()
    began, bad, total = clock.monotonic(), [], [0, 0, 0, 0, 0]
    for one in outcomes(seeds):
        figures = (1, one.commands, one.acts, one.cuts, one.flushes)
        total = [known + more for known, more in zip(total, figures, strict=True)]
        bad += [one] if one.violations else []
        if say and one.violations:
            print(f"seed {one.seed}: {one.violations[0]}")
            print(f"    again: python -m tests.simulation --seed {one.seed}")
        if one.violations and until_first:
            break
    per_second = total[0] / (clock.monotonic() - began)
    return bad, (
        f"{total[0]} seeds, {per_second:.0f} a second: {total[1]} commands, {total[2]} acts, {total[3]} power cuts, "
        f"{total[4]} flushes; {len(bad)} broke a promise"
    )
