"""This file is the promises of the executor when writers are cancelled, the journal fails, or it is being stopped."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.commands import executor as executors
from gateway.commands.executor import Executor, Handler
from gateway.commands.journal import Journal, JournalError
from gateway.commands.ledger import CommandState
from gateway.commands.work import Work
from gateway.contract.commands import Command
from gateway.contract.events import CommandEnded, CommandOutcome
from gateway.contract.inventory import Inventory
from gateway.kit import supervise
from gateway.kit.errors import GatewayError
from tests.fakes.clock import HandClock
from tests.fakes.wishes import a_read, an_apply


class BrokenError(GatewayError):
    """Something broke."""

    code = "test.broken"


@asynccontextmanager
async def executing(path: Path, handler: Handler) -> AsyncIterator[Journal]:
    async with (
        Journal.open(path / "journal.db", clock=HandClock()) as journal,
        supervise.running(executor=Executor(journal, handler, clock=HandClock()).run()),
    ):
        yield journal


async def ended(journal: Journal, command: Command) -> CommandEnded:
    async with asyncio.timeout(20):
        while journal.ledger.record(command.id).state is not CommandState.ENDED:
            async with journal.changed:
                await journal.changed.wait()
    told = [one.body for one in await journal.events_after(0, limit=1000) if one.command_id == command.id]
    assert isinstance(told[-1], CommandEnded)
    return told[-1]


async def journal_fault(journal: Journal, handler: Handler) -> JournalError:
    """Run the executor until it fails, and return the journal's error in what it raised."""
    fault: BaseException | None = None
    try:
        async with asyncio.timeout(20):
            await Executor(journal, handler, clock=HandClock()).run()
    except BaseExceptionGroup as several:
        fault = several.subgroup(JournalError)
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    assert isinstance(fault, JournalError)
    return fault


async def test_a_writer_cancelled_in_the_middle_of_the_flush_still_wakes_the_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is on disk whoever was cancelled, so it must run; nobody else may come along to wake it."""
    begun, go_on, store = threading.Event(), threading.Event(), Journal._store
    ran = asyncio.Event()

    def slow(self: Journal, *rows: list) -> None:  # type: ignore[type-arg]
        begun.set()
        go_on.wait(20)
        store(self, *rows)

    async def handler(command: Command, work: Work) -> None:
        ran.set()

    async with executing(tmp_path, handler) as journal:
        await asyncio.sleep(0.01)  # the executor has seen that there is nothing to do and waits
        monkeypatch.setattr(Journal, "_store", slow)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(journal.accept(an_apply()))
            await asyncio.to_thread(begun.wait, 20)
            writer.cancel()
            await asyncio.sleep(0)
            go_on.set()
        assert writer.cancelled()
        async with asyncio.timeout(20):
            await ran.wait()


async def test_a_journal_that_fails_ends_no_command_and_is_told_upwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, store, full = an_apply(), Journal._store, False

    def failing(self: Journal, *rows: list) -> None:  # type: ignore[type-arg]
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        store(self, *rows)

    async def handler(command: Command, work: Work) -> None:
        nonlocal full
        full = True
        async with work.step("clone", "Clone", changes=True):
            pass

    monkeypatch.setattr(Journal, "_store", failing)
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        assert "disk is full" in (await journal_fault(journal, handler)).message
        assert journal.ledger.record(command.id).state is CommandState.RUNNING
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        assert journal.ledger.record(command.id).state is CommandState.RUNNING
        assert not [one for one in await journal.events_after(0, limit=100) if isinstance(one.body, CommandEnded)]


async def test_a_journal_that_fails_in_a_parallel_step_ends_no_command_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps side by side wrap their errors in a group; one of them is the journal's."""
    command, store, full = an_apply(), Journal._store, False

    def failing_once(self: Journal, *rows: list) -> None:  # type: ignore[type-arg]
        nonlocal full
        if full:
            full = False
            raise sqlite3.OperationalError("disk I/O error")
        store(self, *rows)

    async def one_step(work: Work, name: str) -> None:
        async with work.step(name, name, changes=True):
            pass

    async def handler(command: Command, work: Work) -> None:
        nonlocal full
        full = True
        async with asyncio.TaskGroup() as group:
            for name in ("one", "two"):
                group.create_task(one_step(work, name))

    monkeypatch.setattr(Journal, "_store", failing_once)
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        assert "disk I/O error" in (await journal_fault(journal, handler)).message
        assert journal.ledger.record(command.id).state is CommandState.RUNNING


async def test_an_error_that_comes_of_stopping_does_not_end_the_command(tmp_path: Path) -> None:
    command, began = an_apply(), asyncio.Event()
    tries: list[int] = []

    async def handler(command: Command, work: Work) -> None:
        tries.append(1)
        if len(tries) > 1:
            return
        async with work.step("ansible", "Run Ansible", changes=True):
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise BrokenError("the connection was closed under our hands") from None

    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        async with supervise.running(executor=Executor(journal, handler, clock=HandClock()).run()):
            await began.wait()
        assert journal.ledger.record(command.id).state is CommandState.RUNNING
    async with executing(tmp_path, handler) as journal:
        assert (await ended(journal, command)).outcome is CommandOutcome.SUCCEEDED


@pytest.mark.parametrize("letter", ["x", "ž", "漢", "😀"])
async def test_the_limit_of_a_result_counts_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, letter: str) -> None:
    monkeypatch.setattr(executors, "RESULT_LIMIT", 4000)
    width = len(letter.encode())
    sizes = {"fits": 3000 // width, "does not": 4001 // width}
    small, large = a_read(), an_apply()

    async def handler(command: Command, work: Work) -> Inventory:
        return Inventory(product=letter * sizes["fits" if command.id == small.id else "does not"])

    async with executing(tmp_path, handler) as journal:
        await journal.accept(small)
        await journal.accept(large)
        assert (await ended(journal, small)).outcome is CommandOutcome.SUCCEEDED
        refused = (await ended(journal, large)).problem
    assert refused is not None
    assert refused.code == "command.result_too_large"
