"""This file is the crash table: the power is cut at every point there is, and the cluster still comes up.

Cuts are made before and after each write of the journal, and at each point of each call to the cloud.
"""

from pathlib import Path
from uuid import uuid4

import pytest

from gateway.commands import journal
from gateway.commands.disk import Batch
from gateway.commands.sqlitedisk import SqliteDisk
from gateway.contract.commands import Command
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, Event, StepBegan, StepDone
from tests.fakes.cloud import MemoryCloud, Point
from tests.fakes.wishes import a_delete, an_apply
from tests.unit.provisioning.world import PowerCutError, World

THREE = ["demo-cp-0", "demo-workers-0", "demo-workers-1"]


async def cut_off(world: World, command: Command) -> bool:
    """Carry out; tell whether the power was cut on the way."""
    try:
        await world.carry_out(command)
    except PowerCutError:
        return True
    except BaseExceptionGroup as several:
        if several.subgroup(PowerCutError) is None:
            raise
        return True
    return False


def check_events(events: list[Event], command: Command) -> None:
    """Numbers have no gap, each step is done once, the end is told once."""
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    mine = [event.body for event in events if event.command_id == command.id]
    done = [body.step for body in mine if isinstance(body, StepDone)]
    assert {body.step for body in mine if isinstance(body, StepBegan)} == set(done)
    once = [step for step in done if step.split("/")[-1] in {"clone", "power-on", "remove", "prepare"}]
    assert len(once) == len(set(once))
    assert len([body for body in mine if isinstance(body, CommandEnded)]) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_cut_at_every_write_of_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    store = SqliteDisk._store
    cut_at, writes, cuts = 0, 0, 0

    def cutting(self: SqliteDisk, batch: Batch) -> None:
        nonlocal writes
        writes += 1
        if writes == cut_at and not after:
            raise PowerCutError
        store(self, batch)
        if writes == cut_at:
            raise PowerCutError

    monkeypatch.setattr(SqliteDisk, "_store", cutting)
    monkeypatch.setattr(journal, "TOGETHER", 1)  # each write by itself, so that each is cut at
    while True:
        cut_at, writes = cut_at + 1, 0
        state = tmp_path / str(cut_at)
        state.mkdir()
        world, command = World(state), an_apply()
        if not await cut_off(world, command):
            break
        cuts += 1
        ended = await world.carry_out(command)
        assert ended.outcome is CommandOutcome.SUCCEEDED
        assert world.cloud.names() == THREE
        assert world.cloud.clones_begun == 3
        check_events(await world.events(), command)
    assert cuts > 20


@pytest.mark.parametrize("machine", THREE)
@pytest.mark.parametrize("point", [point for point in Point if point is not Point.REMOVED])
async def test_cut_at_every_point_of_making_a_machine(tmp_path: Path, point: Point, machine: str) -> None:
    world, command = World(tmp_path), an_apply()

    async def cut(at: Point, name: str) -> None:
        if (at, name) == (point, machine):
            world.cloud.at = MemoryCloud().at
            raise PowerCutError

    world.cloud.at = cut
    assert await cut_off(world, command)
    assert (await world.carry_out(command)).outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.names() == THREE
    assert world.cloud.clones_begun <= 4
    check_events(await world.events(), command)


async def test_cut_while_a_machine_is_being_removed(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    await world.carry_out(an_apply(cluster))
    delete = a_delete(cluster)

    async def cut(at: Point, name: str) -> None:
        if at is Point.REMOVED and name == "demo-workers-0":
            world.cloud.at = MemoryCloud().at
            raise PowerCutError

    world.cloud.at = cut
    assert await cut_off(world, delete)
    assert (await world.carry_out(delete)).outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.machines == {}
    assert world.cloud.folders == set()


async def test_a_resumed_command_says_which_attempt_it_is(tmp_path: Path) -> None:
    world, command = World(tmp_path), an_apply()

    async def cut(at: Point, name: str) -> None:
        world.cloud.at = MemoryCloud().at
        raise PowerCutError

    world.cloud.at = cut
    await cut_off(world, command)
    await world.carry_out(command)
    attempts = [event.body.attempt for event in await world.events() if isinstance(event.body, CommandBegan)]
    assert attempts == [1, 2]


async def test_a_delete_waits_for_the_clones_that_a_cut_apply_left_under_way(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    apply = an_apply(cluster)

    async def cut(at: Point, name: str) -> None:
        if at is Point.CLONE_NOTED:
            world.cloud.at = MemoryCloud().at
            raise PowerCutError

    world.cloud.at = cut
    world.cloud.clone_seconds = 0.2
    assert await cut_off(world, apply)
    assert (await world.carry_out(a_delete(cluster))).outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.names() == []
