"""This file is the question: what does a flush cost, how fast are commands accepted, and how fast are steps written?

The real journal, in /var/tmp; `make bench-journal`. "Alone" waits for each write before the next; "together" has many
writers at once, who share flushes.
"""

import asyncio
import logging
import os
import resource
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import structlog

from benchmarks import tables
from gateway.commands import entries
from gateway.commands.entries import StepKind
from gateway.commands.executor import Executor
from gateway.commands.inbox import Inbox
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState
from gateway.commands.work import Work
from gateway.contract.commands import Command, ReadInventory
from gateway.contract.events import StepDone
from gateway.contract.messages import Accepted, Deliver
from gateway.contract.version import PROTOCOL
from gateway.kit import supervise
from gateway.kit.clock import SystemClock

RUNS = 5
WRITES = 200
WRITERS = 64
QUEUED = 1000
CLOCK = SystemClock()
WHEN = datetime(2026, 11, 21, tzinfo=UTC)


def a_command(account: str = "main") -> Command:
    return Command(id=uuid4(), task=ReadInventory(account=account), author="bench", created_at=WHEN)


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = CLOCK.monotonic()
    await work()
    return CLOCK.monotonic() - began


def fsync_ms(directory: Path) -> float:
    """The median cost of 4 KiB and an fdatasync, in milliseconds: what the disk itself takes."""
    found = []
    with (directory / "probe").open("wb") as file:
        for _ in range(WRITES):
            began = CLOCK.monotonic()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            found.append(CLOCK.monotonic() - began)
    return statistics.median(found) * 1000


@asynccontextmanager
async def journal() -> AsyncIterator[tuple[Journal, Path]]:
    with tempfile.TemporaryDirectory(prefix="pcg-bench-", dir="/var/tmp") as made:
        async with Journal.open(Path(made) / "journal.db", clock=CLOCK) as opened:
            yield opened, Path(made)


async def a_step(opened: Journal, command: Command, name: str) -> None:
    await opened.write([entries.StepBegan(command.id, name, StepKind.KEYED, "key")])
    await opened.write([entries.StepDone(command.id, name)], [(command.id, StepDone(step=name))])


async def alone(opened: Journal) -> float:
    """Writes a second of one writer, each flushed before the next."""
    await opened.accept(command := a_command())

    async def steps() -> None:
        for number in range(WRITES // 2):
            await a_step(opened, command, f"{number}")

    return WRITES / await timed(steps)


async def together(opened: Journal) -> float:
    """Writes a second of many writers, who share flushes."""
    await opened.accept(command := a_command())

    async def steps() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(several(number))

    async def several(number: int) -> None:
        for step in range(WRITES // 20):
            await a_step(opened, command, f"{number}/{step}")

    return WRITERS * 2 * (WRITES // 20) / await timed(steps)


async def accept_ms(opened: Journal) -> list[float]:
    """Milliseconds from a delivery to its answer, while four commands write steps."""
    inbox, found = Inbox(opened, PROTOCOL), []
    busy = [a_command(f"busy-{number}") for number in range(4)]
    for one in busy:
        await opened.accept(one)

    async def write_steps(one: Command) -> None:
        for number in range(10_000):
            await a_step(opened, one, f"{number % 50}")

    async with asyncio.TaskGroup() as group:
        writing = [group.create_task(write_steps(one)) for one in busy]
        for _ in range(200):
            command = a_command()
            message = Deliver(command_id=command.id, command=command.model_dump(mode="json"))
            began = CLOCK.monotonic()
            assert isinstance(await inbox.take(message), Accepted)
            found.append((CLOCK.monotonic() - began) * 1000)
        for task in writing:
            task.cancel()
    return sorted(found)


async def drained(opened: Journal) -> tuple[float, float]:
    """Commands a second when a thousand are queued, and by how many MiB memory grew meanwhile."""

    async def handler(command: Command, _: Work) -> None:
        await a_step(opened, command, "one")

    for _ in range(QUEUED):
        await opened.accept(a_command(f"a-{uuid4().hex[:12]}"))
    before = resident_mib()

    async def until_done() -> None:
        async with supervise.running(executor=Executor(opened, handler, clock=CLOCK).run()), opened.changed:
            await opened.changed.wait_for(lambda: not opened.ledger.unfinished)

    seconds = await timed(until_done)
    assert all(one.state is CommandState.ENDED for one in opened.ledger)
    await opened.acknowledge(opened.last_event)
    assert not list(opened.ledger)
    return QUEUED / seconds, resident_mib() - before


def resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure() -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for _ in range(RUNS):
        async with journal() as (opened, directory):
            note("fsync", fsync_ms(directory))
            note("alone", await alone(opened))
            note("together", await together(opened))
        async with journal() as (opened, _):
            latencies = await accept_ms(opened)
            note("accept p50", latencies[len(latencies) // 2])
            note("accept p99", latencies[int(len(latencies) * 0.99)])
        async with journal() as (opened, _):
            speed, grown = await drained(opened)
            note("drained", speed)
            note("grown", grown)
    return found


WORDS = {
    "fsync": ("4 KiB and an fdatasync, the disk alone", "ms"),
    "alone": ("writes of one writer, each flushed", "per second"),
    "together": (f"writes of {WRITERS} writers, who share flushes", "per second"),
    "accept p50": ("from a delivery to its answer, beside four busy commands, median", "ms"),
    "accept p99": ("the same, p99", "ms"),
    "drained": (f"{QUEUED} queued commands of one step, carried out four at a time", "per second"),
    "grown": ("memory that took, at its highest", "MiB"),
}


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found = asyncio.run(measure())
    median = {name: statistics.median(values) for name, values in found.items()}
    rows: list[dict[str, object]] = [
        {"name": words, "value": round(median[name], 2), "unit": unit, "runs": [round(one, 2) for one in found[name]]}
        for name, (words, unit) in WORDS.items()
    ]
    tables.write_rows(
        "journal",
        question="What does a flush cost, how fast are commands accepted, and how fast are steps written?",
        rows=rows,
        ratios={
            "together_vs_alone": round(median["together"] / median["alone"], 2),
            "a_flush_vs_fdatasync": round(1000 / median["alone"] / median["fsync"], 2),
        },
        page=None,
    )


if __name__ == "__main__":
    main()
