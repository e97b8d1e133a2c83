"""This file is the promises of the two lanes of events: state is never dropped, progress is thinned out."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from gateway.commands import ledger, progress
from gateway.commands.journal import Journal
from gateway.commands.outbox import Outbox
from gateway.commands.sqlitedisk import SqliteDisk
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, StepProgress
from tests.fakes.clock import HandClock
from tests.fakes.wishes import an_apply


def word(message: str, step: str = "s") -> StepProgress:
    return StepProgress(step=step, message=message)


async def words(journal: Journal, command: UUID) -> list[str]:
    events = await journal.events_after(0, limit=100_000)
    return [one.body.message for one in events if one.command_id == command and isinstance(one.body, StepProgress)]


async def written(journal: Journal, *, after: int) -> None:
    async with asyncio.timeout(20), journal.changed:
        await journal.changed.wait_for(lambda: journal.last_event > after)


async def test_of_each_step_only_the_latest_word_is_written_twice_a_second_at_most(tmp_path: Path) -> None:
    clock, command = HandClock(), an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=clock) as journal:
        await journal.accept(command)
        for number in range(100):
            journal.progress(command.id, word(f"{number}"))
            journal.progress(command.id, word(f"{number}", "t"))
        await written(journal, after=1)
        assert await words(journal, command.id) == ["99", "99"]
        before = clock.seconds
        for number in range(3):
            last = journal.last_event
            journal.progress(command.id, word(f"later {number}"))
            await written(journal, after=last)
        assert clock.seconds >= before + 2 * progress.PAUSE
        assert await words(journal, command.id) == ["99", "99", "later 0", "later 1", "later 2"]


async def test_no_progress_is_told_of_what_is_over(tmp_path: Path) -> None:
    command = an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        await journal.write([ledger.StepDone(command.id, "s")])
        journal.progress(command.id, word("too late"))
        journal.progress(command.id, word("in time", "t"))
        await written(journal, after=0)
        await journal.write([ledger.Ended(command.id, CommandOutcome.SUCCEEDED)])
        journal.progress(command.id, word("after the end", "t"))
        await journal.write([], [(command.id, CommandBegan(attempt=1))])
        assert await words(journal, command.id) == ["in time"]


@pytest.mark.parametrize("why", ["far behind", "disk low"])
async def test_no_progress_is_written_while_the_console_is_far_behind_or_the_disk_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    async def low(_: SqliteDisk) -> int:
        return 0 if why == "disk low" else 1 << 40

    monkeypatch.setattr(progress, "MOST_WAITING", 3 if why == "far behind" else 10_000)
    monkeypatch.setattr(SqliteDisk, "free_bytes", low)
    clock, command = HandClock(), an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=clock) as journal:
        await journal.accept(command)
        await journal.write([], [(command.id, CommandBegan(attempt=1))] * 4)
        journal.progress(command.id, word("dropped"))
        async with asyncio.timeout(20):
            while not clock.seconds:  # noqa: ASYNC110 - until the lane has looked, and rests
                await asyncio.sleep(0)
        await journal.write([], [(command.id, CommandBegan(attempt=1))])
        assert (await words(journal, command.id), journal.last_event) == ([], 5)


async def test_an_older_console_hears_an_outcome_that_it_knows(tmp_path: Path) -> None:
    command = an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        await journal.write([], [(command.id, CommandEnded(outcome=CommandOutcome.UNKNOWN))])
        for protocol, outcome in ((2, "failed"), (3, "unknown")):
            (event,) = await Outbox(journal, after=0, protocol=protocol).next_batch()
            assert isinstance(event.body, CommandEnded)
            assert event.body.outcome == outcome
