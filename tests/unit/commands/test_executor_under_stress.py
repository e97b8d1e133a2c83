"""This file is the promises of the executor when writers are cancelled, the journal fails, or it is being stopped."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from structlog.testing import capture_logs

from gateway.commands import executor as executors
from gateway.commands import steps
from gateway.commands.disk import Batch, DiskFullError
from gateway.commands.executor import Executor, Handler
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState
from gateway.commands.sqlitedisk import SqliteDisk
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


async def test_a_writer_cancelled_in_the_middle_of_the_flush_still_wakes_the_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is on disk whoever was cancelled, so it must run; nobody else may come along to wake it."""
    begun, go_on, store = threading.Event(), threading.Event(), SqliteDisk._store
    ran = asyncio.Event()

    def slow(self: SqliteDisk, batch: Batch) -> None:
        begun.set()
        go_on.wait(20)
        store(self, batch)

    async def handler(command: Command, work: Work) -> None:
        ran.set()

    async with executing(tmp_path, handler) as journal:
        await asyncio.sleep(0.01)  # the executor has seen that there is nothing to do and waits
        monkeypatch.setattr(SqliteDisk, "_store", slow)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(journal.accept(an_apply()))
            await asyncio.to_thread(begun.wait, 20)
            writer.cancel()
            await asyncio.sleep(0)
            go_on.set()
        assert writer.cancelled()
        async with asyncio.timeout(20):
            await ran.wait()


@dataclass
class FailingDisk:
    """Lets the next writes of every disk fail."""

    fault: sqlite3.Error
    times: int = 0

    def planted(self, monkeypatch: pytest.MonkeyPatch) -> Self:
        store, failing = SqliteDisk._store, self

        def sometimes(self: SqliteDisk, batch: Batch) -> None:
            if failing.times > 0:
                failing.times -= 1
                raise failing.fault
            store(self, batch)

        monkeypatch.setattr(SqliteDisk, "_store", sometimes)
        return self


FULL = sqlite3.OperationalError("database or disk is full")
BROKEN = sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("fault", [FULL, BROKEN], ids=["full", "broken"])
async def test_a_disk_that_cannot_be_written_is_waited_for_and_ends_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: sqlite3.Error
) -> None:
    command, disk, did = an_apply(), FailingDisk(fault).planted(monkeypatch), []

    async def one_step(work: Work, name: str) -> None:
        async with work.step(steps.bringing(name, name)):
            did.append(name)

    async def handler(command: Command, work: Work) -> None:
        disk.times = 7
        async with asyncio.TaskGroup() as group:
            for name in ("one", "two"):
                group.create_task(one_step(work, name))

    async with executing(tmp_path, handler) as journal:
        await journal.accept(command)
        with capture_logs() as said:
            assert (await ended(journal, command)).outcome is CommandOutcome.SUCCEEDED
    assert (sorted(did), disk.times) == (["one", "two"], 0)
    told = [one["event"] for one in said if "journal" in str(one["event"])]
    assert told == ["journal cannot be written, will be tried again", "journal is written again"]


async def test_whoever_waits_for_a_broken_disk_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, disk = an_apply(), FailingDisk(BROKEN).planted(monkeypatch)
    began = asyncio.Event()

    async def handler(command: Command, work: Work) -> None:
        disk.times = 1_000_000
        began.set()
        async with work.step(steps.bringing("clone", "Clone")):
            raise AssertionError("nothing is begun that is not written down")

    async with asyncio.timeout(20):
        async with executing(tmp_path, handler) as journal:
            await journal.accept(command)
            await began.wait()
            await asyncio.sleep(0)
        disk.times = 0
        async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
            assert journal.ledger.record(command.id).state is CommandState.RUNNING
            assert journal.ledger.record(command.id).steps == {}


async def test_a_command_that_cannot_be_written_down_is_refused_at_once_while_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, command = FailingDisk(FULL).planted(monkeypatch), an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        disk.times = 1
        with pytest.raises(DiskFullError, match="make room"):
            await journal.accept(an_apply())
        await journal.accept(second := an_apply())
        assert [one.command.id for one in journal.ledger] == [command.id, second.id]


async def test_an_error_that_comes_of_stopping_does_not_end_the_command(tmp_path: Path) -> None:
    command, began = an_apply(), asyncio.Event()
    tries: list[int] = []

    async def handler(command: Command, work: Work) -> None:
        tries.append(1)
        if len(tries) > 1:
            return
        async with work.step(steps.bringing("ansible", "Run Ansible")):
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
