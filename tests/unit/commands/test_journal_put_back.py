"""This file is the promises of a journal that was put back to an older state, and goes on from there."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commands import ledger
from gateway.commands.executor import Executor
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState
from gateway.commands.work import Work
from gateway.contract.commands import Command
from gateway.contract.events import CommandEnded, CommandOutcome, StepProgress
from gateway.kit import supervise
from tests.fakes.clock import HandClock
from tests.fakes.wishes import an_apply


def journal_in(directory: Path) -> Path:
    return directory / "journal.db"


async def say(journal: Journal, *messages: str) -> None:
    command = uuid4()
    await journal.write([], [(command, StepProgress(step="s", message=message)) for message in messages])


async def said(journal: Journal) -> dict[int, str]:
    events = await journal.events_after(0, limit=1000)
    return {event.number: event.body.message for event in events if isinstance(event.body, StepProgress)}


async def test_events_that_the_console_may_not_know_get_numbers_it_has_never_seen(tmp_path: Path) -> None:
    async with Journal.open(journal_in(tmp_path), clock=HandClock()) as journal:
        await say(journal, "known", "told since", "new")
        await journal.acknowledge(1)
        await journal.resume_after(40)
        assert await said(journal) == {1: "known", 41: "told since", 42: "new"}
        await say(journal, "later")
        assert (journal.acknowledged, journal.last_event) == (40, 43)


async def test_it_counts_on_from_there_after_a_restart(tmp_path: Path) -> None:
    async with Journal.open(journal_in(tmp_path), clock=HandClock()) as journal:
        await say(journal, "one")
        await journal.resume_after(7)
    async with Journal.open(journal_in(tmp_path), clock=HandClock()) as journal:
        await say(journal, "two")
        assert (await said(journal), journal.acknowledged) == ({8: "one", 9: "two"}, 7)


async def test_a_number_that_is_known_changes_nothing(tmp_path: Path) -> None:
    async with Journal.open(journal_in(tmp_path), clock=HandClock()) as journal:
        await say(journal, "one", "two", "three")
        await journal.resume_after(2)
        assert (await said(journal), journal.acknowledged) == ({1: "one", 2: "two", 3: "three"}, 0)


@settings(deadline=None)
@given(known=st.integers(0, 8), more=st.integers(0, 8), ahead=st.integers(1, 20))
def test_no_number_is_used_twice_whatever_was_known(
    tmp_path_factory: pytest.TempPathFactory, known: int, more: int, ahead: int
) -> None:
    async def scene() -> None:
        async with Journal.open(journal_in(tmp_path_factory.mktemp("j")), clock=HandClock()) as journal:
            await say(journal, *[f"{number}" for number in range(known + more)])
            await journal.acknowledge(known)
            console = journal.last_event + ahead
            await journal.resume_after(console)
            await say(journal, "last")
            assert [number for number in await said(journal) if number > known] == [
                console + step for step in range(1, more + 2)
            ]

    asyncio.run(scene())


async def test_commands_that_have_not_ended_are_told_in_order(tmp_path: Path) -> None:
    first, second, over = an_apply(), an_apply(), an_apply()
    async with Journal.open(journal_in(tmp_path), clock=HandClock()) as journal:
        for one in (first, over, second):
            await journal.accept(one)
        await journal.write([ledger.Began(second.id), ledger.Ended(over.id, CommandOutcome.SUCCEEDED)])
        assert journal.open_commands() == [first.id, second.id]


@pytest.mark.attack(7)
@pytest.mark.parametrize("begun", [False, True])
async def test_an_abandoned_command_never_runs_not_even_after_a_restart(tmp_path: Path, *, begun: bool) -> None:
    command, ran = an_apply(), []

    async def handler(command: Command, work: Work) -> None:
        ran.append(command.id)

    async with Journal.open(journal_in(tmp_path), clock=HandClock()) as journal:
        await journal.accept(command)
        if begun:
            await journal.write([ledger.Began(command.id)])
        await journal.abandon([command.id])
    async with Journal.open(journal_in(tmp_path), clock=HandClock()) as journal:
        async with supervise.running(executor=Executor(journal, handler, clock=HandClock()).run()):
            await ended(journal, command)
        (event,) = await journal.events_after(0, limit=10)
    assert ran == []
    assert event.body == CommandEnded(outcome=CommandOutcome.CANCELLED)


async def test_a_command_that_is_running_is_cut_when_it_is_abandoned(tmp_path: Path) -> None:
    command, begun, never = an_apply(), asyncio.Event(), asyncio.Event()

    async def handler(_command: Command, _work: Work) -> None:
        begun.set()
        await never.wait()

    async with Journal.open(journal_in(tmp_path), clock=HandClock()) as journal:
        async with supervise.running(executor=Executor(journal, handler, clock=HandClock()).run()):
            await journal.accept(command)
            await begun.wait()
            await journal.abandon([command.id])
            await ended(journal, command)
        assert journal.ledger.record(command.id).outcome is CommandOutcome.CANCELLED


async def test_what_is_over_or_unknown_is_not_abandoned(tmp_path: Path) -> None:
    over = an_apply()
    async with Journal.open(journal_in(tmp_path), clock=HandClock()) as journal:
        await journal.accept(over)
        await journal.write([ledger.Ended(over.id, CommandOutcome.SUCCEEDED)])
        before = list(journal.ledger)
        await journal.abandon([over.id, uuid4()])
        assert list(journal.ledger) == before


async def ended(journal: Journal, command: Command) -> None:
    async with asyncio.timeout(10):
        while journal.ledger.record(command.id).state is not CommandState.ENDED:
            async with journal.changed:
                await journal.changed.wait()
