"""This file is the promises of the executor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from gateway.commands import steps
from gateway.commands.executor import Executor, Handler
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState
from gateway.commands.work import Work
from gateway.contract.commands import ApplyCluster, Command, ReadInventory
from gateway.contract.events import CommandEnded, CommandOutcome, StepFailed
from gateway.contract.inventory import Inventory
from gateway.kit import supervise
from gateway.kit.errors import GatewayError
from tests.fakes.clock import HandClock
from tests.fakes.wishes import a_delete, a_read, an_apply


class BrokenError(GatewayError):
    """Something broke."""

    code = "test.broken"


@asynccontextmanager
async def executing(path: Path, handler: Handler) -> AsyncIterator[Journal]:
    clock = HandClock()
    async with Journal.open(path / "journal.db", clock=clock) as journal:
        executor = Executor(journal, handler, clock=clock)
        async with supervise.running(executor=executor.run()):
            yield journal


async def ended(journal: Journal, command: Command) -> CommandEnded:
    async with asyncio.timeout(10):
        while journal.ledger.record(command.id).state is not CommandState.ENDED:
            async with journal.changed:
                await journal.changed.wait()
    events = await journal.events_after(0, limit=1000)
    (last,) = [e.body for e in events if e.command_id == command.id and isinstance(e.body, CommandEnded)]
    return last


async def test_a_result_is_reported(tmp_path: Path) -> None:
    async def read(command: Command, work: Work) -> Inventory:
        return Inventory(product="vCenter")

    command = a_read()
    async with executing(tmp_path, read) as journal:
        await journal.accept(command)
        last = await ended(journal, command)
    assert last.inventory == Inventory(product="vCenter")


async def test_an_error_before_anything_changed_is_a_refusal(tmp_path: Path) -> None:
    async def check(command: Command, work: Work) -> None:
        async with work.step(steps.reading("check", "Look")):
            raise BrokenError("no such template")

    command = an_apply()
    async with executing(tmp_path, check) as journal:
        await journal.accept(command)
        last = await ended(journal, command)
        told = [e.body for e in await journal.events_after(0, limit=100)]
    assert last.outcome is CommandOutcome.REFUSED
    assert last.problem is not None
    assert last.problem.code == "test.broken"
    assert any(isinstance(body, StepFailed) for body in told)


async def test_an_error_after_something_changed_is_a_failure(tmp_path: Path) -> None:
    async def change(command: Command, work: Work) -> None:
        async with work.step(steps.bringing("clone", "Clone")):
            raise BrokenError("half-way")

    command = an_apply()
    async with executing(tmp_path, change) as journal:
        await journal.accept(command)
        assert (await ended(journal, command)).outcome is CommandOutcome.FAILED


async def test_errors_of_parallel_steps_are_reported_as_the_first_of_them(tmp_path: Path) -> None:
    async def fail() -> None:
        raise BrokenError("one of many")

    async def several(command: Command, work: Work) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    command = an_apply()
    async with executing(tmp_path, several) as journal:
        await journal.accept(command)
        last = await ended(journal, command)
    assert last.problem is not None
    assert last.problem.code == "test.broken"


async def test_a_defect_ends_its_command_and_no_other(tmp_path: Path) -> None:
    async def buggy(command: Command, work: Work) -> None:
        if isinstance(command.task, ReadInventory):
            raise ZeroDivisionError("a secret path or value")

    bad, good = a_read(), an_apply()
    async with executing(tmp_path, buggy) as journal:
        await journal.accept(bad)
        await journal.accept(good)
        last = await ended(journal, bad)
        assert (await ended(journal, good)).outcome is CommandOutcome.SUCCEEDED
    assert last.problem is not None
    assert last.problem.code == "internal.defect"
    assert "secret" not in last.problem.message


async def test_a_command_cut_by_a_stop_is_taken_up_again_and_skips_what_is_done(tmp_path: Path) -> None:
    command, did = an_apply(), []
    reached = asyncio.Event()

    async def two_steps(command: Command, work: Work) -> None:
        for name in ("one", "two"):
            if work.is_done(name):
                continue
            async with work.step(steps.bringing(name, name)):
                did.append(name)
                if name == "two" and len(did) == 2:
                    reached.set()
                    await asyncio.Event().wait()

    async with executing(tmp_path, two_steps) as journal:
        await journal.accept(command)
        await reached.wait()
    async with executing(tmp_path, two_steps) as journal:
        assert (await ended(journal, command)).outcome is CommandOutcome.SUCCEEDED
    assert did == ["one", "two", "two"]


async def test_a_delete_ends_the_running_apply_and_then_runs(tmp_path: Path) -> None:
    cluster, began = uuid4(), asyncio.Event()
    order: list[str] = []

    async def handler(command: Command, work: Work) -> None:
        order.append(command.task.kind)
        if isinstance(command.task, ApplyCluster):
            began.set()
            await asyncio.Event().wait()

    apply, delete = an_apply(cluster), a_delete(cluster)
    async with executing(tmp_path, handler) as journal:
        await journal.accept(apply)
        await began.wait()
        await journal.accept(delete)
        assert (await ended(journal, apply)).outcome is CommandOutcome.CANCELLED
        assert (await ended(journal, delete)).outcome is CommandOutcome.SUCCEEDED
    assert order == ["cluster.apply", "cluster.delete"]


async def test_a_displaced_command_that_has_not_begun_never_begins(tmp_path: Path) -> None:
    cluster = uuid4()
    ran: list[str] = []

    async def handler(command: Command, work: Work) -> None:
        ran.append(command.task.kind)

    apply, delete = an_apply(cluster), a_delete(cluster)
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(apply)
        await journal.accept(delete)
    async with executing(tmp_path, handler) as journal:
        await ended(journal, delete)
    assert ran == ["cluster.delete"]


async def test_a_command_over_its_time_limit_ends_and_says_so(tmp_path: Path) -> None:
    async def forever(command: Command, work: Work) -> None:
        await asyncio.Event().wait()

    command = an_apply().model_copy(update={"time_limit": 0})
    async with executing(tmp_path, forever) as journal:
        await journal.accept(command)
        last = await ended(journal, command)
    assert last.problem is not None
    assert last.problem.code == "command.time_limit"


async def test_a_time_out_inside_a_handler_is_not_taken_for_the_commands_limit(tmp_path: Path) -> None:
    async def inner(command: Command, work: Work) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    command = an_apply()
    async with executing(tmp_path, inner) as journal:
        await journal.accept(command)
        last = await ended(journal, command)
    assert last.problem is not None
    assert last.problem.code == "internal.defect"
