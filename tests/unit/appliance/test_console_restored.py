"""This file is what happens when a console is restored from an older backup: it is noticed, and nothing runs twice."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.appliance import commands as appliance_commands
from gateway.appliance import showing
from gateway.appliance.lane import HaltFile
from tests.fakes.console import Console
from tests.unit.appliance.with_console import Pair, Running, conditions, ended, state_of, until, wished


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


async def halted(pair: Pair, console: Console) -> dict[str, Any]:
    """Wait until the lane is halted and the console shows it."""

    async def shown() -> Any:  # noqa: ANN401
        return HaltFile(pair.state).read() is not None and (await conditions(console)).get("console-behind")

    found: dict[str, Any] = await until(shown)
    return found


async def reported(running: Running, console: Console) -> None:
    """Wait until the console has every event again."""

    async def so() -> bool:
        shown = (await console.ask("GET", "/api/v1/gateways/dc1")).body
        return bool(shown) and running.journal.acknowledged == running.journal.last_event

    await until(so)


async def put_back(pair: Pair) -> str:
    """Do a command, back the console up, do another that the backup does not know, and restore; return the first."""
    async with pair.console() as console, pair.appliance():
        first = await wished(console, "one")
        assert await ended(console, first) == "succeeded"
    pair.back_up()
    async with pair.console() as console, pair.appliance():
        assert await ended(console, await wished(console, "two")) == "succeeded"
    pair.restore()
    return first


async def test_a_console_put_back_halts_the_lane_says_so_and_goes_on_hearing_reports(pair: Pair) -> None:
    await put_back(pair)
    async with pair.console() as console, pair.appliance() as running:
        condition = await halted(pair, console)
        assert "pcg gateway release dc1" in condition["remedy"]
        assert "pcg appliance resume" in condition["remedy"]
        assert "events up to" in condition["message"]
        assert "newest command is number 1" in condition["message"]
        await reported(running, console)

        fresh = await wished(console, "three")

        async def told_why() -> bool:
            problem = (await console.ask("GET", "/api/v1/gateways/dc1")).body["problem"]
            return bool(problem) and problem["code"] == "lane.halted"

        await until(told_why)
        assert await state_of(console, fresh) == "pending"
    assert len(pair.runs) == 2
    assert pair.told("lane.halted")
    shown = showing.document(pair.state, accounts=[], targets=[])
    assert shown["halted"]
    assert any("pcg appliance resume" in line for line in showing._lines(shown))


async def test_a_release_at_the_console_ends_the_halt(pair: Pair) -> None:
    await put_back(pair)
    async with pair.console() as console, pair.appliance():
        await halted(pair, console)
        said = await console.ask("POST", "/api/v1/gateways/dc1/release")
        assert said.status == 200, said

        async def resumed() -> bool:
            return HaltFile(pair.state).read() is None

        await until(resumed)
        fresh = await wished(console, "three")
        assert await ended(console, fresh) == "succeeded"
        assert "console-behind" not in await conditions(console)
    async with pair.console() as console, pair.appliance():
        assert await ended(console, await wished(console, "four")) == "succeeded"
        assert await conditions(console) == {}
    assert len(pair.runs) == len(set(pair.runs)) == 4


async def test_a_release_while_the_appliance_is_away_is_heard_when_it_comes_back(pair: Pair) -> None:
    await put_back(pair)
    async with pair.console() as console:
        async with pair.appliance():
            await halted(pair, console)
        await console.ask("POST", "/api/v1/gateways/dc1/release")
        async with pair.appliance():
            assert await ended(console, await wished(console, "three")) == "succeeded"
    assert HaltFile(pair.state).read() is None


async def test_a_word_on_the_appliance_ends_the_halt_and_the_console_hears_of_it(pair: Pair) -> None:
    await put_back(pair)
    async with pair.console() as console:
        async with pair.appliance():
            await halted(pair, console)
        done = CliRunner().invoke(appliance_commands.app, ["resume", "--state", str(pair.state)])
        assert done.exit_code == 0, done.output
        async with pair.appliance():
            assert await ended(console, await wished(console, "three")) == "succeeded"
            assert "console-behind" not in await conditions(console)
    assert "events up to" in str(pair.told("site.resumed")[0].facts["halt"])


async def test_what_was_carried_out_is_sent_again_by_the_restored_console_and_not_run_again(pair: Pair) -> None:
    async with pair.console() as console:
        async with pair.appliance():
            assert await ended(console, await wished(console, "one")) == "succeeded"
        waits = await wished(console, "two")
    pair.back_up()
    async with pair.console() as console, pair.appliance():
        assert await ended(console, waits) == "succeeded"
    pair.restore()
    async with pair.console() as console, pair.appliance():
        await halted(pair, console)
        assert await ended(console, waits) == "succeeded"  # known, answered, and its events heard again
        await console.ask("POST", "/api/v1/gateways/dc1/release")
        assert await ended(console, await wished(console, "three")) == "succeeded"
    assert len(pair.runs) == len(set(pair.runs)) == 3


async def test_what_the_journal_has_forgotten_is_not_run_again_after_the_release(pair: Pair) -> None:
    async with pair.console() as console:
        async with pair.appliance():
            assert await ended(console, await wished(console, "one")) == "succeeded"
        waits = await wished(console, "two")
    pair.back_up()
    async with pair.console() as console, pair.appliance() as running:
        assert await ended(console, waits) == "succeeded"
        await reported(running, console)
        clock = running.journal._clock
        running.journal._clock = type("Later", (), {"now": lambda _: clock.now().replace(year=2050)})()
        await running.journal.compact()
        running.journal._clock = clock
    pair.restore()
    async with pair.console() as console, pair.appliance():
        await halted(pair, console)
        await console.ask("POST", "/api/v1/gateways/dc1/release")
        assert await ended(console, waits) == "rejected"
        problem = (await console.ask("GET", f"/api/v1/commands/{waits}")).body["problem"]
        assert problem["code"] == "lane.from_before"
        assert await ended(console, await wished(console, "three")) == "succeeded"
    assert len(pair.runs) == len(set(pair.runs)) == 3


async def test_an_unchanged_console_that_was_only_started_again_halts_nothing(pair: Pair) -> None:
    for name in ("one", "two"):
        async with pair.console() as console, pair.appliance():
            assert await ended(console, await wished(console, name)) == "succeeded"
            assert await conditions(console) == {}
    assert pair.told("lane.halted") == []
