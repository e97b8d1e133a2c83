"""This file is the promises of a journal whose entries cannot be read: it says which, and changes nothing."""

import sqlite3
from pathlib import Path

import pytest

from gateway.commands import ledger
from gateway.commands.journal import Journal, JournalError
from tests.fakes.clock import HandClock
from tests.fakes.wishes import an_apply

DAMAGE = {
    "kind of a later version": "UPDATE entries SET kind = 'Paused' WHERE seq = 2",
    "no JSON": "UPDATE entries SET body = '{' WHERE seq = 2",
    "not an object": "UPDATE entries SET body = '[]' WHERE seq = 2",
    "a number": "UPDATE entries SET body = '7' WHERE seq = 2",
    "a field too many": "UPDATE entries SET body = json_set(body, '$.more', 1) WHERE seq = 2",
    "no command": "UPDATE entries SET body = '{}' WHERE seq = 2",
    "an id that is none": "UPDATE entries SET body = json_set(body, '$.command_id', 'x') WHERE seq = 2",
    "an id that is a number": "UPDATE entries SET body = json_set(body, '$.command_id', 7) WHERE seq = 2",
    "a command never accepted": "UPDATE entries SET kind = 'Began', body = json_set(body, '$.command_id', "
    "'00000000-0000-0000-0000-000000000000') WHERE seq = 2",
}


async def test_bytes_that_are_no_text_make_the_journal_unusable_and_are_no_crash(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(an_apply())
    with sqlite3.connect(tmp_path / "journal.db") as database:
        database.execute("UPDATE entries SET body = CAST(x'ff' AS TEXT)")
    database.close()
    with pytest.raises(JournalError, match="restore the state directory"):
        async with Journal.open(tmp_path / "journal.db", clock=HandClock()):
            pass


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_an_entry_that_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    command = an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        await journal.write([ledger.Began(command.id), ledger.StepDone(command.id, "a")])
    with sqlite3.connect(tmp_path / "journal.db") as database:
        database.execute(damage)
    database.close()
    with pytest.raises(JournalError, match=r"entry 2\b.*journal cannot be read") as caught:
        async with Journal.open(tmp_path / "journal.db", clock=HandClock()):
            pass
    assert caught.value.code == "journal.unusable"
    with sqlite3.connect(tmp_path / "journal.db") as database:
        assert database.execute("SELECT count(*) FROM entries").fetchone() == (3,)
    database.close()
