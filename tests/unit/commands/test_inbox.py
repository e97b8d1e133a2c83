"""This file is the promises of the inbox: what is taken, what is put off, and that nothing overtakes."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from gateway.commands import inbox as inboxes
from gateway.commands import ledger
from gateway.commands.inbox import Inbox, InboxFullError
from gateway.commands.journal import LOW, Journal
from gateway.commands.sqlitedisk import SqliteDisk
from gateway.contract.commands import CancelCommand, Command
from gateway.contract.events import CommandOutcome
from gateway.contract.messages import Accepted, Deferred, Deliver, Rejected
from tests.fakes.clock import HandClock
from tests.fakes.wishes import a_command, an_apply


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as opened:
        yield opened


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the free bytes of every disk, for tests to change."""
    found = [LOW]

    async def free_bytes(_: SqliteDisk) -> int:
        return found[0]

    monkeypatch.setattr(SqliteDisk, "free_bytes", free_bytes)
    return found


def delivery(command: Command) -> Deliver:
    return Deliver(command_id=command.id, command=command.model_dump(mode="json"))


async def taken(inbox: Inbox, command: Command) -> str:
    answer = await inbox.take(delivery(command))
    assert answer.command_id == command.id
    return answer.problem.code if isinstance(answer, Deferred) else answer.type


async def test_what_is_accepted_is_on_the_disk_and_is_accepted_again(journal: Journal) -> None:
    inbox, command = Inbox(journal, 3), an_apply()
    for _ in range(2):
        assert await inbox.take(delivery(command)) == Accepted(command_id=command.id)
    assert journal.open_commands() == [command.id]


async def test_what_is_over_and_known_to_be_is_accepted_again_and_not_run_again(journal: Journal) -> None:
    inbox, command = Inbox(journal, 3), an_apply()
    await inbox.take(delivery(command))
    await journal.settle(lambda known: known.abandon([command.id]))
    await journal.acknowledge(journal.last_event)
    assert journal.ledger.get(command.id) is None
    assert await taken(inbox, command) == "accepted"
    assert journal.ledger.runnable() == []


async def test_the_same_id_with_other_content_is_rejected_however_long_it_is_over(journal: Journal) -> None:
    inbox, command = Inbox(journal, 3), an_apply()
    await inbox.take(delivery(command))
    await journal.settle(lambda known: known.abandon([command.id]))
    await journal.acknowledge(journal.last_event)
    answer = await inbox.take(delivery(command.model_copy(update={"author": "mallory"})))
    assert isinstance(answer, Rejected)
    assert answer.problem.code == "command.changed"


async def test_more_than_it_keeps_is_put_off_until_something_has_ended(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "MOST_UNFINISHED", 2)
    inbox, commands = Inbox(journal, 3), [an_apply() for _ in range(3)]
    assert [await taken(inbox, one) for one in commands] == ["accepted", "accepted", "inbox.full"]
    assert await taken(inbox, commands[0]) == "accepted"
    await journal.write([ledger.Ended(commands[0].id, CommandOutcome.SUCCEEDED)])
    assert await taken(inbox, commands[2]) == "accepted"


async def test_commands_about_commands_are_taken_however_full_it_is(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, free: list[int]
) -> None:
    monkeypatch.setattr(inboxes, "MOST_UNFINISHED", 1)
    inbox, command = Inbox(journal, 3), an_apply()
    await inbox.take(delivery(command))
    free[0] = 0
    assert await taken(inbox, a_command(CancelCommand(command_id=command.id))) == "accepted"
    assert journal.open_commands() == []


async def test_nothing_is_taken_while_the_disk_is_low_and_that_is_said_once(journal: Journal, free: list[int]) -> None:
    inbox, commands = Inbox(journal, 3), [an_apply() for _ in range(3)]
    free[0] = LOW - 1
    with capture_logs() as said:
        assert [await taken(inbox, one) for one in commands] == ["inbox.disk_low"] * 3
        free[0] = LOW
        assert [await taken(inbox, one) for one in commands] == ["accepted"] * 3
    told = [one["event"] for one in said if "taken" in one["event"]]
    assert told == ["no commands are taken for now", "commands are taken again"]


async def test_a_later_command_does_not_overtake_one_of_its_resource_that_was_put_off(
    journal: Journal, free: list[int]
) -> None:
    inbox, cluster = Inbox(journal, 3), uuid4()
    first, second, elsewhere = an_apply(cluster), an_apply(cluster), an_apply()
    free[0] = 0
    await taken(inbox, first)
    free[0] = LOW
    assert await taken(inbox, second) == "inbox.overtaking"
    assert await taken(inbox, elsewhere) == "accepted"
    assert [await taken(inbox, one) for one in (first, second)] == ["accepted", "accepted"]
    assert journal.open_commands() == [elsewhere.id, first.id, second.id]


async def test_an_older_console_is_hung_up_on_instead(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "MOST_UNFINISHED", 0)
    with pytest.raises(InboxFullError):
        await Inbox(journal, 2).take(delivery(an_apply()))
