"""This file is what must survive: kill -9 of either program at any moment, and a minute without a network."""

import asyncio
import random

import pytest

from gateway.cli.exits import Exit
from gateway.lab.site import Program, Site
from tests.e2e import observing

KILLS = 10
MACHINES = ["control-plane-0", "workers-0", "workers-1"]


def check_whole(place: Site, name: str) -> None:
    """Every machine once, every step done, no event lost."""
    assert observing.vms(place, name) == [f"{name}-{machine}" for machine in MACHINES]
    told = observing.told(place, name)
    assert told.numbers == list(range(1, len(told.numbers) + 1))
    done = told.steps("step.done")
    for machine in MACHINES:
        assert done.count(f"{name}-{machine}/clone") == 1
        assert done.count(f"{name}-{machine}/power-on") == 1
    assert {body["outcome"] for body in told.bodies if body["type"] == "command.ended"} == {"succeeded"}


async def kill_now_and_then(program: Program, chance: random.Random) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.1, 2.5))
        await program.kill()
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        await program.start()


async def apply_until(done: asyncio.Task[None], place: Site, path: str) -> None:
    """Apply the same wish again and again, so that every kill falls into an apply.

    Each has to succeed, but for one that could not be sent because the console was down just then.
    """
    while True:
        answer = await observing.applying(place, path)
        assert answer.code in (Exit.OK, Exit.RETRY), answer.err
        if done.done() and answer.code == Exit.OK:
            return


@pytest.mark.timeout(420)
@pytest.mark.parametrize("which", ["appliance", "console"])
async def test_kill_9_at_ten_random_moments_loses_nothing_and_doubles_nothing(place: Site, which: str) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    name = f"killed-{which}"
    path = observing.write_cluster(place, name, workers=2)
    program = place.appliance if which == "appliance" else place.console
    async with asyncio.TaskGroup() as group:
        kills = group.create_task(kill_now_and_then(program, random.Random(seed)))
        await apply_until(kills, place, path)
    check_whole(place, name)
    await observing.removed(place, name)


@pytest.mark.timeout(420)
async def test_a_minute_without_a_network_loses_nothing(place: Site) -> None:
    path = observing.write_cluster(place, "unplugged", workers=2)
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(observing.applying(place, path))
        await asyncio.sleep(6)
        place.lab.cut_uplink()
        await asyncio.sleep(60)
        place.lab.restore_uplink()
    assert answer.result().code == 0, answer.result().err
    check_whole(place, "unplugged")
    await observing.removed(place, "unplugged")


async def test_a_delete_in_the_middle_of_an_apply_leaves_nothing(place: Site) -> None:
    path = observing.write_cluster(place, "regretted", workers=2)
    await place.must("cluster", "apply", "-f", path, "--no-wait")
    await asyncio.sleep(2)
    await observing.removed(place, "regretted")
