"""This file holds the console that simulations run with against the real one: told the same, they know the same."""

import asyncio
import random

import pytest

from gateway.console.intake import EventsMissingError
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, Event, EventBody, StepBegan
from gateway.contract.messages import Accepted, Acknowledge, Rejected, ReportEvents
from gateway.contract.problems import Problem
from gateway.kit.errors import Remedy
from tests.fakes.clock import HandClock
from tests.fakes.console import Console, cluster, paired_appliance
from tests.fakes.wishes import WHEN
from tests.simulation.console import ModelConsole

BODIES: tuple[EventBody, ...] = (
    CommandBegan(attempt=1),
    StepBegan(step="a", title="A"),
    *(CommandEnded(outcome=outcome) for outcome in CommandOutcome),
)
NO = Problem(code="test.no", message="no", remedy=Remedy.CALLER)


@pytest.mark.parametrize("seed", range(4))
async def test_told_the_same_the_simulated_console_knows_what_the_real_one_does(console: Console, seed: int) -> None:
    draw, model = random.Random(seed), ModelConsole()
    model.clock = HandClock()  # type: ignore[assignment]
    appliance = await paired_appliance(console)
    for number in range(4):
        await console.put(cluster(f"c{number}"))
    async with appliance.connected() as line:
        commands = [await line.take() for _ in range(4)]
        for command in commands:
            model.wish(command)
            model.answered(Accepted(command_id=command.id))
        sent: list[Event] = []
        for _ in range(25):
            command = draw.choice(commands)
            if draw.random() < 0.2:
                answer = draw.choice([Accepted(command_id=command.id), Rejected(command_id=command.id, problem=NO)])
                await line.say(answer)
                model.answered(answer)
                continue
            number = len(sent) + 1
            sent.append(Event(number=number, command_id=command.id, at=WHEN, body=draw.choice(BODIES)))
            report = ReportEvents(events=sent[-draw.randint(1, 3) :])
            await line.say(report)
            async with asyncio.timeout(20):
                assert (await line.hear(Acknowledge)).number == model.reported(report.events)
        for command in commands:
            real = (await console.ask("GET", f"/api/v1/commands/{command.id}")).body
            assert real["state"] == model.kept.commands[command.id].state
    with pytest.raises(EventsMissingError):
        model.reported([sent[-1].model_copy(update={"number": len(sent) + 2})])
