"""This file is the promises of commands about commands: cancel, pause, resume wait for nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

from gateway.commands.executor import Executor
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState, Decision, Ledger
from gateway.commands.work import Work
from gateway.contract.commands import CancelCommand, Command, PauseCommands, ResumeCommands
from gateway.contract.events import CommandEnded, CommandOutcome
from gateway.kit import supervise
from tests.fakes.clock import HandClock
from tests.fakes.wishes import a_command, an_apply


class Hands:
    """Holds every command until it is let go; `began` in order."""

    def __init__(self) -> None:
        self.began: list[UUID] = []
        self.begun: dict[UUID, asyncio.Event] = {}
        self.go_on: dict[UUID, asyncio.Event] = {}

    async def handler(self, command: Command, work: Work) -> None:
        self.began.append(command.id)
        self.begun.setdefault(command.id, asyncio.Event()).set()
        await self.go_on.setdefault(command.id, asyncio.Event()).wait()

    async def has_begun(self, command: Command) -> None:
        async with asyncio.timeout(20):
            await self.begun.setdefault(command.id, asyncio.Event()).wait()

    def let_go(self, command: Command) -> None:
        self.go_on.setdefault(command.id, asyncio.Event()).set()


@asynccontextmanager
async def alive(path: Path, hands: Hands) -> AsyncIterator[Journal]:
    async with (
        Journal.open(path / "journal.db", clock=HandClock()) as journal,
        supervise.running(executor=Executor(journal, hands.handler, clock=HandClock()).run()),
    ):
        yield journal


async def until(journal: Journal, command: Command, state: CommandState) -> None:
    async with asyncio.timeout(20):
        while journal.ledger.record(command.id).state is not state:
            async with journal.changed:
                await journal.changed.wait()


async def end_of(journal: Journal, command: Command) -> CommandEnded:
    await until(journal, command, CommandState.ENDED)
    found = [one.body for one in await journal.events_after(0, limit=100) if one.command_id == command.id]
    assert isinstance(found[-1], CommandEnded)
    return found[-1]


def test_what_was_held_or_called_off_after_it_was_chosen_does_not_begin() -> None:
    for order in (PauseCommands(), None):
        ledger, command = Ledger(), an_apply()
        task = order or CancelCommand(command_id=command.id)
        for one in (command, a_command(task)):
            for entry in ledger.accept(one).entries:
                ledger.apply(entry)
        assert ledger.begin(command.id) == Decision()


def cancel(command_id: UUID) -> Command:
    return a_command(CancelCommand(command_id=command_id))


async def test_what_has_not_begun_is_cancelled_at_once_behind_what_runs(tmp_path: Path) -> None:
    hands, cluster = Hands(), uuid4()
    running, waiting = an_apply(cluster), an_apply(cluster)
    async with alive(tmp_path, hands) as journal:
        await journal.accept(running)
        await journal.accept(waiting)
        await hands.has_begun(running)
        await journal.accept(order := cancel(waiting.id))
        assert (await end_of(journal, waiting)).outcome is CommandOutcome.CANCELLED
        assert (await end_of(journal, order)).outcome is CommandOutcome.SUCCEEDED
        assert journal.ledger.record(running.id).state is CommandState.RUNNING
        hands.let_go(running)
        await end_of(journal, running)
    assert hands.began == [running.id]


async def test_what_runs_is_cut_when_it_is_cancelled(tmp_path: Path) -> None:
    hands, command = Hands(), an_apply()
    async with alive(tmp_path, hands) as journal:
        await journal.accept(command)
        await hands.has_begun(command)
        await journal.accept(cancel(command.id))
        assert (await end_of(journal, command)).outcome is CommandOutcome.CANCELLED


async def test_what_is_over_or_was_never_here_cannot_be_cancelled(tmp_path: Path) -> None:
    hands, command = Hands(), an_apply()
    hands.let_go(command)
    async with alive(tmp_path, hands) as journal:
        await journal.accept(command)
        await end_of(journal, command)
        for target in (command.id, uuid4()):
            await journal.accept(order := cancel(target))
            last = await end_of(journal, order)
            assert last.outcome is CommandOutcome.REFUSED
            assert last.problem is not None
            assert last.problem.code == "command.nothing_to_cancel"
        assert journal.ledger.record(command.id).outcome is CommandOutcome.SUCCEEDED


async def test_a_pause_holds_what_has_not_begun_and_lets_go_on_what_has(tmp_path: Path) -> None:
    hands, running, held = Hands(), an_apply(), an_apply()
    async with alive(tmp_path, hands) as journal:
        await journal.accept(running)
        await hands.has_begun(running)
        await journal.accept(a_command(PauseCommands()))
        await journal.accept(held)
        hands.let_go(running)
        assert (await end_of(journal, running)).outcome is CommandOutcome.SUCCEEDED
        assert hands.began == [running.id]
        await journal.accept(a_command(ResumeCommands()))
        await hands.has_begun(held)


async def test_a_pause_of_one_resource_holds_no_other(tmp_path: Path) -> None:
    hands, held, free = Hands(), an_apply(), an_apply()
    async with alive(tmp_path, hands) as journal:
        await journal.accept(a_command(PauseCommands(on=held.task.resource)))
        await journal.accept(held)
        await journal.accept(free)
        await hands.has_begun(free)
        assert hands.began == [free.id]
        await journal.accept(a_command(ResumeCommands(on=held.task.resource)))
        await hands.has_begun(held)


async def test_a_pause_outlasts_restarts_and_the_memory_of_who_asked_for_it(tmp_path: Path) -> None:
    hands, held, clock = Hands(), an_apply(), HandClock()
    async with Journal.open(tmp_path / "journal.db", clock=clock) as journal:
        await journal.accept(a_command(PauseCommands()))
        await journal.acknowledge(journal.last_event)
        clock.seconds += 30 * 86400
        await journal.compact()
    async with alive(tmp_path, hands) as journal:
        await journal.accept(held)
        assert journal.ledger.runnable() == []
        await journal.accept(a_command(ResumeCommands()))
        await hands.has_begun(held)


async def test_what_runs_goes_on_after_a_restart_also_while_paused(tmp_path: Path) -> None:
    hands, command = Hands(), an_apply()
    async with alive(tmp_path, hands) as journal:
        await journal.accept(command)
        await hands.has_begun(command)
        await journal.accept(a_command(PauseCommands()))
    hands.let_go(command)
    async with alive(tmp_path, hands) as journal:
        assert (await end_of(journal, command)).outcome is CommandOutcome.SUCCEEDED
