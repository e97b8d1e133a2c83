"""This file is the promises of steps: what is done again after a cut, what is looked for first, what nobody knows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.commands import steps
from gateway.commands.executor import Executor
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState
from gateway.commands.steps import Declared, Probed, Seen, StepUnsafeError
from gateway.commands.work import Step, Work
from gateway.contract.commands import CancelCommand, Command
from gateway.contract.events import CommandEnded, CommandOutcome, StepFailed
from gateway.kit import supervise
from gateway.kit.errors import GatewayError
from tests.fakes.clock import HandClock
from tests.fakes.wishes import a_command, an_apply


class BrokenError(GatewayError):
    """Something broke."""

    code = "test.broken"


@dataclass
class Scene:
    """One command with one step; the first `cuts` attempts are cut while it acts."""

    declared: Declared
    cuts: int = 1
    breaks: bool = False
    acted: list[str | None] = field(default_factory=list)
    acting: asyncio.Event = field(default_factory=asyncio.Event)

    async def handler(self, command: Command, work: Work) -> None:
        async def act(step: Step) -> None:
            self.acted.append(step.key)
            if self.breaks:
                raise BrokenError("half-way")
            if len(self.acted) <= self.cuts:
                self.acting.set()
                await asyncio.Event().wait()
            step.message = "made"

        await work.carry_out(self.declared, act)


@asynccontextmanager
async def alive(path: Path, scene: Scene) -> AsyncIterator[Journal]:
    async with (
        Journal.open(path / "journal.db", clock=HandClock()) as journal,
        supervise.running(executor=Executor(journal, scene.handler, clock=HandClock()).run()),
    ):
        yield journal


async def ended(journal: Journal, command: Command) -> CommandEnded:
    async with asyncio.timeout(20):
        while journal.ledger.record(command.id).state is not CommandState.ENDED:
            async with journal.changed:
                await journal.changed.wait()
    found = [one.body for one in await journal.events_after(0, limit=1000) if one.command_id == command.id]
    assert isinstance(found[-1], CommandEnded)
    return found[-1]


async def cut_and_gone_on(path: Path, scene: Scene) -> CommandEnded:
    command = an_apply()
    async with alive(path, scene) as journal:
        await journal.accept(command)
        await scene.acting.wait()
    async with alive(path, scene) as journal:
        return await ended(journal, command)


def probing(*answers: Probed | GatewayError) -> steps.Probe:
    left = list(answers)

    async def probe(_: str | None) -> Probed:
        answer = left.pop(0)
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    return probe


def test_a_step_that_must_not_be_done_twice_is_refused_without_a_probe() -> None:
    with pytest.raises(StepUnsafeError, match="needs a probe"):
        Declared("pay", "Pay", steps.StepKind.ONCE)


def test_a_keyed_step_is_refused_without_a_key() -> None:
    with pytest.raises(StepUnsafeError, match="needs one"):
        steps.keyed("clone", "Clone", key="")


@pytest.mark.parametrize("declared", [steps.reading("a", "A"), steps.bringing("a", "A")], ids=lambda one: one.kind)
async def test_what_may_be_done_again_is_done_again(tmp_path: Path, declared: Declared) -> None:
    scene = Scene(declared)
    assert (await cut_and_gone_on(tmp_path, scene)).outcome is CommandOutcome.SUCCEEDED
    assert len(scene.acted) == 2


async def test_a_keyed_step_is_done_again_with_the_key_it_began_with(tmp_path: Path) -> None:
    scene = Scene(steps.keyed("clone", "Clone", key="first"))
    command = an_apply()
    async with alive(tmp_path, scene) as journal:
        await journal.accept(command)
        await scene.acting.wait()
    scene.declared = steps.keyed("clone", "Clone", key="second")
    async with alive(tmp_path, scene) as journal:
        await ended(journal, command)
    assert scene.acted == ["first", "first"]


async def test_a_step_whose_probe_has_seen_it_done_is_not_done_again(tmp_path: Path) -> None:
    scene = Scene(steps.once("pay", "Pay", probe=probing(Probed(Seen.DONE, "the receipt is there"))))
    assert (await cut_and_gone_on(tmp_path, scene)).outcome is CommandOutcome.SUCCEEDED
    assert len(scene.acted) == 1


async def test_a_step_whose_probe_has_seen_it_undone_is_done_again(tmp_path: Path) -> None:
    scene = Scene(steps.once("pay", "Pay", probe=probing(Probed(Seen.NOT_DONE))))
    assert (await cut_and_gone_on(tmp_path, scene)).outcome is CommandOutcome.SUCCEEDED
    assert len(scene.acted) == 2


@pytest.mark.parametrize("answer", [Probed(Seen.UNKNOWN, "two receipts"), BrokenError("no answer")], ids=["?", "error"])
async def test_what_nobody_can_tell_ends_the_command_as_unknown_for_good(
    tmp_path: Path, answer: Probed | GatewayError
) -> None:
    scene = Scene(steps.once("pay", "Pay", probe=probing(answer)))
    last = await cut_and_gone_on(tmp_path, scene)
    assert last.outcome is CommandOutcome.UNKNOWN
    assert last.problem is not None
    assert last.problem.code == "command.outcome_unknown"
    assert last.problem.facts["steps"] == "pay"
    assert last.problem.facts["evidence"]
    async with alive(tmp_path, scene) as journal:
        assert list(journal.ledger.runnable()) == []
    assert len(scene.acted) == 1


async def test_after_an_error_its_probe_says_whether_it_was_done_all_the_same(tmp_path: Path) -> None:
    for seen, outcome in ((Seen.DONE, "succeeded"), (Seen.NOT_DONE, "failed"), (Seen.UNKNOWN, "unknown")):
        scene = Scene(steps.once("pay", "Pay", probe=probing(Probed(seen))), breaks=True)
        command = an_apply()
        async with alive(tmp_path, scene) as journal:
            await journal.accept(command)
            assert (await ended(journal, command)).outcome == outcome
            told = [one.body for one in await journal.events_after(0, limit=1000) if one.command_id == command.id]
        assert any(isinstance(body, StepFailed) for body in told)


async def test_a_command_that_is_cancelled_while_such_a_step_acts_ends_as_unknown(tmp_path: Path) -> None:
    scene, command = Scene(steps.once("pay", "Pay", probe=probing())), an_apply()
    async with alive(tmp_path, scene) as journal:
        await journal.accept(command)
        await scene.acting.wait()
        await journal.accept(a_command(CancelCommand(command_id=command.id)))
        assert (await ended(journal, command)).outcome is CommandOutcome.UNKNOWN


async def test_such_a_step_cannot_be_surrounded_by_hand(tmp_path: Path) -> None:
    command = an_apply()
    async with Journal.open(tmp_path / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        work = Work(command, journal, HandClock())
        with pytest.raises(StepUnsafeError):
            async with work.step(steps.once("pay", "Pay", probe=probing())):
                raise AssertionError("it must not act")
        assert journal.ledger.record(command.id).steps == {}
