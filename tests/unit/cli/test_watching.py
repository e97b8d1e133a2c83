"""This file is the promises of waiting: it ends when the command ends, says what it waits for, and can be left."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from gateway.cli import watching
from gateway.cli.client import Client
from gateway.cli.exits import AnsweredError, CommandEndedBadlyError
from gateway.cli.tables import Output
from gateway.cli.watching import Patience, StillGoingError
from gateway.console.api.models import CommandView, GatewayStatus, WatchedEvent
from gateway.console.records import CommandState
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, StepBegan
from gateway.identity.pinned import ConsoleUnreachableError
from gateway.kit import ids
from tests.unit.cli import samples

ENDLESS = Patience(None, "`pcg cluster watch demo` shows it")
NONE_LEFT = Patience(0.0, "`pcg cluster watch demo` shows it")
EARLIER, LAST, LATER = (ids.new_id(samples.NOON.replace(minute=minute)) for minute in (1, 2, 3))
Told = WatchedEvent | ConsoleUnreachableError


@dataclass
class Fake(Client):
    """A console that tells events and gives answers, and then says nothing more."""

    told: list[Told] = field(default_factory=list)
    answers: list[BaseModel | AnsweredError] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    project: str = "default"

    async def ask(self, method: str, where: str, answer: type[Any], *, body: BaseModel | None = None) -> Any:  # noqa: ANN401
        self.asked.append(where)
        said = self.answers.pop(0)
        if isinstance(said, AnsweredError):
            raise said
        return said

    async def watch(
        self, *, cluster: str | None = None, command: UUID | None = None, after: int = 0
    ) -> AsyncGenerator[Told, None]:
        for one in self.told:
            yield one
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "ASK_EVERY", 0.0)


def ended(outcome: CommandOutcome, *, reason: str | None = None) -> WatchedEvent:
    problem = samples.problem(reason) if reason else None
    return samples.event(CommandEnded(outcome=outcome, problem=problem), of=LAST, position=9)


async def applied(client: Client, *, patience: Patience = ENDLESS, output: Output = Output.TABLE) -> None:
    await watching.until_ended(client, samples.command(), title="t", output=output, patience=patience)


async def test_a_command_that_succeeds_is_shown_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    step = samples.event(StepBegan(step="a", title="Cloning"), of=LAST)
    await applied(Fake(told=[step, ended(CommandOutcome.SUCCEEDED)]))
    assert [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()] == [
        "demo a: Cloning",
        "demo succeeded",
    ]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (ended(CommandOutcome.FAILED, reason="no room"), "no room"),
        (ended(CommandOutcome.REFUSED), "not succeeded"),
        (ended(CommandOutcome.CANCELLED), "a later command"),
    ],
)
async def test_a_command_that_ends_badly_says_why(end: WatchedEvent, words: str) -> None:
    with pytest.raises(CommandEndedBadlyError, match=words):
        await applied(Fake(told=[end]))


async def test_patience_that_runs_out_says_that_the_command_goes_on() -> None:
    with pytest.raises(StillGoingError, match=r"within 0 s and goes on; `pcg cluster watch demo`"):
        await applied(Fake(), patience=NONE_LEFT)


async def test_whoever_is_interrupted_is_told_that_the_command_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await applied(Fake())
    assert capsys.readouterr().err == "the command goes on; `pcg cluster watch demo` shows it\n"


async def test_a_console_that_is_away_is_told_once_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    away = ConsoleUnreachableError("away\x1b")
    step = samples.event(CommandBegan(attempt=1), of=LAST)
    await applied(Fake(told=[away, away, step, away, ended(CommandOutcome.SUCCEEDED)]), output=Output.JSON)
    shown = capsys.readouterr()
    assert shown.err == "away\\x1b; trying again\n" * 2
    assert [json.loads(line)["body"]["type"] for line in shown.out.splitlines()] == ["command.began", "command.ended"]


@pytest.mark.parametrize("state", [one for one in CommandState if one.has_ended and one is not CommandState.SUCCEEDED])
async def test_waiting_for_a_result_ends_with_every_end(state: CommandState) -> None:
    last: CommandView = samples.command(state).model_copy(update={"ended_at": None, "problem": None})
    with pytest.raises(CommandEndedBadlyError):
        await watching.result(Fake(answers=[samples.command(), last]), samples.command(), patience=ENDLESS)


async def test_a_result_that_is_there_at_once_is_not_asked_for() -> None:
    done = samples.command(CommandState.SUCCEEDED)
    assert await watching.result(Fake(), done, patience=ENDLESS) is done


async def test_waiting_for_a_result_runs_out_too() -> None:
    with pytest.raises(StillGoingError):
        await watching.result(Fake(answers=[samples.command()] * 999), samples.command(), patience=NONE_LEFT)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (GatewayStatus.CONNECTED, ""),
        (GatewayStatus.DISCONNECTED, "dc1 is not connected (last seen "),
        (GatewayStatus.NEVER_CONNECTED, "dc1 is not connected (never seen); the command waits for it"),
    ],
)
async def test_who_waits_for_a_gateway_is_told(
    status: GatewayStatus, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await watching.say_if_waiting(Fake(answers=[samples.gateway(status)]), "dc1")
    err = capsys.readouterr().err
    assert err.startswith(words)
    assert bool(err) == bool(words)


async def test_a_gateway_that_is_gone_meanwhile_is_no_news() -> None:
    await watching.say_if_waiting(Fake(answers=[AnsweredError(samples.problem())]), "dc1")


@pytest.mark.parametrize(
    ("state", "expected"),
    [(CommandState.RUNNING, [LAST, LATER]), (CommandState.FAILED, [LATER]), (None, [EARLIER, LAST, LATER])],
)
async def test_a_watch_begins_after_what_has_ended(
    state: CommandState | None, expected: list[UUID], capsys: pytest.CaptureFixture[str]
) -> None:
    last = samples.command(state).model_copy(update={"id": LAST}) if state else None
    told: list[Told] = [samples.event(CommandBegan(attempt=1), of=one) for one in (EARLIER, LAST, LATER)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await watching.for_ever(Fake(told=told), samples.view(last=last), output=Output.JSON)
    lines = capsys.readouterr().out.splitlines()
    assert [UUID(json.loads(line)["command_id"]) for line in lines] == expected
