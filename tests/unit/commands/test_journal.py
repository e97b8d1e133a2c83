"""This file is the promises of the journal: what was told is on disk."""

import asyncio
import shutil
import sqlite3
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.commands import ledger
from gateway.commands.journal import Journal, JournalError
from gateway.commands.ledger import CommandState
from gateway.commands.outbox import Outbox
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, StepProgress
from tests.fakes.clock import HandClock
from tests.fakes.wishes import a_delete, an_apply


async def test_what_was_accepted_is_there_after_the_power_was_cut(tmp_path: Path) -> None:
    command = an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        for name in ("journal.db", "journal.db-wal"):  # what the disk holds at this moment
            shutil.copy(tmp_path / name, tmp_path / f"cut-{name}")
    async with Journal.open(tmp_path / "cut-journal.db", clock=HandClock()) as after:
        assert after.ledger.record(command.id).command == command


async def test_every_kind_of_entry_survives_a_restart(tmp_path: Path) -> None:
    cluster = uuid4()
    apply, delete = an_apply(cluster), a_delete(cluster)
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(apply)
        await journal.write([ledger.Began(apply.id), ledger.StepBegan(apply.id, "a", ledger.StepKind.KEYED, "k")])
        await journal.write([ledger.StepNoted(apply.id, "a", "task-7"), ledger.StepDone(apply.id, "a", "made")])
        await journal.write([ledger.StepBegan(apply.id, "b", ledger.StepKind.ONCE), ledger.StepUndone(apply.id, "b")])
        await journal.write([ledger.PauseSet(apply.id, None, paused=True)])
        await journal.accept(delete)
        await journal.write([ledger.Ended(apply.id, CommandOutcome.CANCELLED)])
        before, pauses = list(journal.ledger), journal.ledger.pauses
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        assert (list(journal.ledger), journal.ledger.pauses) == (before, pauses)


async def test_event_numbers_rise_by_one_also_over_restarts(tmp_path: Path) -> None:
    command = an_apply()
    for _ in range(3):
        async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
            await journal.accept(command)
            await journal.write([ledger.Began(command.id)], [(command.id, CommandBegan(attempt=1))] * 2)
            events = await journal.events_after(0, limit=100)
    assert [event.number for event in events] == [1, 2, 3, 4, 5, 6]


async def test_a_cancelled_writer_leaves_memory_and_disk_alike(tmp_path: Path) -> None:
    command = an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(journal.accept(command))
            await asyncio.sleep(0)
            writer.cancel()
        on_disk = sqlite3.connect(tmp_path / "journal.db").execute("SELECT count(*) FROM entries").fetchone()[0]
        assert on_disk == len(list(journal.ledger))


async def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    commands = [an_apply() for _ in range(30)]
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        async with asyncio.TaskGroup() as group:
            for command in commands:
                group.create_task(journal.accept(command))
        assert {record.command.id for record in journal.ledger} == {command.id for command in commands}


async def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "journal.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(JournalError, match="newer version"):
        async with Journal.open(tmp_path / "journal.db", clock=HandClock()):
            pass


async def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(JournalError, match=r"journal\.db"):
        async with Journal.open(tmp_path / "journal.db", clock=HandClock()):
            pass


async def test_old_acknowledged_commands_are_forgotten_and_others_are_not(tmp_path: Path) -> None:
    clock = HandClock()
    old, unsaid, young = an_apply(), an_apply(), an_apply()
    ended = CommandEnded(outcome=CommandOutcome.SUCCEEDED)
    async with Journal.open(tmp_path / "journal.db", clock=clock) as journal:
        for command in (old, unsaid):
            await journal.accept(command)
            await journal.write([ledger.Ended(command.id, ended.outcome)], [(command.id, ended)])
        await journal.acknowledge(1)
        clock.seconds += 8 * 86400
        await journal.accept(young)
        await journal.write([ledger.Ended(young.id, ended.outcome)])
        await journal.compact()
        assert [record.command.id for record in journal.ledger] == [unsaid.id, young.id]
    async with Journal.open(tmp_path / "journal.db", clock=clock) as journal:
        assert [record.state for record in journal.ledger] == [CommandState.ENDED] * 2


async def test_the_outbox_sends_what_the_console_has_not_and_waits_for_more(tmp_path: Path) -> None:
    command = an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        progress = [(command.id, StepProgress(step="s", message=str(n))) for n in range(3)]
        await journal.write([], progress)
        outbox = Outbox(journal, after=1)
        assert [event.number for event in await outbox.next_batch()] == [2, 3]
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(outbox.next_batch())
            await asyncio.sleep(0)
            await journal.write([], progress[:1])
        assert [event.number for event in waiting.result()] == [4]


async def test_a_batch_never_outgrows_a_message(tmp_path: Path) -> None:
    command = an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        await journal.write([], [(command.id, StepProgress(step="s", message="x" * 2000))] * 300)
        outbox = Outbox(journal, after=0)
        sizes = [sum(len(e.model_dump_json()) for e in await outbox.next_batch()) for _ in range(3)]
    assert max(sizes) <= 192 * 1024
