"""This file is the promises of a disk that is full: what runs can end, and nothing is lost."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.commands import ledger
from gateway.commands.disk import DiskFullError
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState
from gateway.commands.reserve import Reserve
from gateway.contract.events import CommandEnded, CommandOutcome, StepFailed
from gateway.contract.problems import Problem
from gateway.kit.clock import SystemClock
from gateway.kit.errors import Remedy
from tests.fakes.wishes import an_apply

MIB = 1 << 20
LONG = StepFailed(step="s", problem=Problem(code="test.long", message="x" * 2000, remedy=Remedy.RETRY))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a file system of its own, of 8 MiB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", mounted], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs root, to mount a small file system")
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)


def fill(directory: Path, *, leave: int) -> Path:
    """Take all room but `leave` bytes."""
    found = os.statvfs(directory)
    filler = directory / "filler"
    filler.write_bytes(bytes(max(0, found.f_bavail * found.f_frsize - leave)))
    return filler


async def accept_many(journal: Journal) -> None:
    """Accept until there is no room; some pages of the log may be there to be used again."""
    for _ in range(10_000):
        await journal.accept(an_apply())


async def test_the_reserve_lets_what_runs_end_when_the_disk_is_full(small: Path) -> None:
    command = an_apply()
    async with Journal.open(small / "journal.db", clock=SystemClock(), reserve=2 * MIB) as journal:
        assert (small / "reserve").stat().st_blocks * 512 == 2 * MIB
        await journal.accept(command)
        await journal.write([ledger.Began(command.id)])
        fill(small, leave=0)
        async with asyncio.timeout(60):
            for _ in range(60):
                await journal.write([], [(command.id, LONG)] * 3)
            end = CommandEnded(outcome=CommandOutcome.SUCCEEDED)
            await journal.write([ledger.Ended(command.id, end.outcome)], [(command.id, end)])
        assert not (small / "reserve").exists()
    async with Journal.open(small / "journal.db", clock=SystemClock()) as journal:
        assert journal.ledger.record(command.id).state is CommandState.ENDED
        assert [one.number for one in await journal.events_after(0, limit=1000)] == list(range(1, 182))


async def test_with_no_room_left_at_all_writers_wait_for_it_and_new_commands_are_told(small: Path) -> None:
    command = an_apply()
    async with Journal.open(small / "journal.db", clock=SystemClock()) as journal:
        await journal.accept(command)
        filler = fill(small, leave=0)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(journal.write([], [(command.id, LONG)] * 100))
            with pytest.raises(DiskFullError):
                await accept_many(journal)
            assert not writing.done()
            filler.unlink()
        assert journal.last_event == 100
        await journal.accept(an_apply())


def test_a_reserve_is_made_where_there_is_room_given_up_once_and_made_again(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", MIB)
    assert not reserve.give_up()
    reserve.keep()
    assert reserve.path.stat().st_blocks * 512 >= MIB
    assert reserve.give_up()
    assert not reserve.give_up()
    reserve.free_beside()
    assert reserve.path.exists()


def test_no_reserve_is_made_that_would_fill_the_disk_by_itself(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    reserve = Reserve(tmp_path / "reserve", found.f_bavail * found.f_frsize)
    reserve.keep()
    assert not reserve.path.exists()
