"""This file is the promises of what is told of machines: also after every power cut it is true in the end."""

import shutil
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import JsonValue

from gateway.commands import journal as journals
from gateway.commands.disk import Batch
from gateway.commands.sqlitedisk import SqliteDisk
from gateway.contract.clusters import Machine, MachinePhase
from gateway.contract.commands import Command
from gateway.contract.events import CommandOutcome, MachineSeen
from gateway.playbooks.port import OnTask, PlaybookResult, PlaybookRun, PlaybookUnreachableError
from gateway.provisioning import machines
from tests.fakes.playbooks import MemoryPlaybooks
from tests.fakes.wishes import a_cluster, an_apply
from tests.unit.provisioning.test_power_cuts import cut_off
from tests.unit.provisioning.world import PowerCutError, World

THREE = ["demo-cp-0", "demo-workers-0", "demo-workers-1"]


async def told_last(world: World) -> dict[str, Machine]:
    seen = [event.body.machine for event in await world.events() if isinstance(event.body, MachineSeen)]
    return {machine.name: machine for machine in seen}


async def check_told(world: World) -> None:
    """What is there was told as prepared, with facts; what was told as removed is not there."""
    told, there = await told_last(world), world.cloud.names()
    assert set(there) <= set(told)
    for name in there:
        assert (told[name].phase, bool(told[name].address)) == (MachinePhase.PREPARED, True), name
        facts = told[name].facts
        assert facts is not None, name
        assert facts.os == "Debian", name


class CuttingJournal:
    """Cuts the power at one write of the journal, counted from one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
        self.cut_at = self.writes = 0
        store, cutter = SqliteDisk._store, self

        def cutting(self: SqliteDisk, batch: Batch) -> None:
            cutter.writes += 1
            if cutter.writes == cutter.cut_at and not after:
                raise PowerCutError
            store(self, batch)
            if cutter.writes == cutter.cut_at:
                raise PowerCutError

        monkeypatch.setattr(SqliteDisk, "_store", cutting)
        monkeypatch.setattr(journals, "TOGETHER", 1)  # each write by itself, so that each is cut at

    async def cuts(self, world: World, command: Command, *, at: int) -> bool:
        self.cut_at, self.writes = at, 0
        return await cut_off(world, command)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_after_every_cut_of_a_creation_all_machines_are_told_as_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    journal, cuts = CuttingJournal(monkeypatch, after=after), 0
    while True:
        state = tmp_path / str(cuts)
        state.mkdir()
        world, command = World(state), an_apply()
        if not await journal.cuts(world, command, at=cuts + 1):
            break
        cuts += 1
        assert (await world.carry_out(command)).outcome is CommandOutcome.SUCCEEDED
        assert world.cloud.names() == THREE
        await check_told(world)
        shutil.rmtree(state)
    assert cuts > 20


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_after_every_cut_of_a_change_what_is_there_is_told_and_what_is_not_is_told_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """A smaller cluster: one worker stays, one goes. The machine that went is told so."""
    journal, cuts = CuttingJournal(monkeypatch, after=after), 0
    while True:
        state = tmp_path / str(cuts)
        state.mkdir()
        world, cluster = World(state), uuid4()
        await world.carry_out(an_apply(cluster))
        change = an_apply(cluster, a_cluster(workers=1))
        if not await journal.cuts(world, change, at=cuts + 1):
            break
        cuts += 1
        assert (await world.carry_out(change)).outcome is CommandOutcome.SUCCEEDED
        assert world.cloud.names() == THREE[:2]
        await check_told(world)
        assert (await told_last(world))["demo-workers-1"].phase is MachinePhase.REMOVED
        shutil.rmtree(state)
    assert cuts > 8


class OddPlaybooks(MemoryPlaybooks):
    """Finds facts of any shape."""

    found: dict[str, JsonValue] = {}  # noqa: RUF012 - set by each test

    async def run(self, run: PlaybookRun, *, on_task: OnTask) -> PlaybookResult:
        result = await super().run(run, on_task=on_task)
        return PlaybookResult(facts={target.name: self.found for target in run.targets}, changed=result.changed)


ODD: list[dict[str, JsonValue]] = [
    {},
    {"os": ["a", "list"], "kernel": "6.1"},
    {"cpus": "many", "memory_mib": None, "swap_off": {"no": 1}, "kernel": "6.1"},
    {"os": "x" * 2001, "kernel": "6.1"},
    {"unknown": {"deep": [1]}, "kernel": "6.1"},
    {"cpus": 10**400, "kernel": "6.1"},
    {"time_sync": 7, "container_runtime": False, "kernel": "6.1"},
]


@pytest.mark.parametrize("found", ODD, ids=range(len(ODD)))
async def test_facts_of_odd_shape_are_left_out_and_the_cluster_comes_up(
    tmp_path: Path, found: dict[str, JsonValue]
) -> None:
    playbooks = OddPlaybooks()
    playbooks.found = found
    world = World(tmp_path, playbooks=playbooks)
    assert (await world.carry_out(an_apply())).outcome is CommandOutcome.SUCCEEDED
    for machine in (await told_last(world)).values():
        assert machine.phase is MachinePhase.PREPARED
        assert machine.facts is not None
        assert machine.facts.model_dump(exclude_defaults=True).keys() <= {"kernel", "cpus"}
        assert machine.facts.kernel == found.get("kernel")


def test_facts_of_good_shape_are_kept() -> None:
    found: dict[str, JsonValue] = {"os": "Debian", "cpus": 2, "swap_off": True}
    assert machines.facts(found).model_dump(exclude_defaults=True) == found


async def test_a_machine_that_vanished_between_two_attempts_is_made_and_prepared_again(tmp_path: Path) -> None:
    """The first attempt had prepared all three; then the power was cut, and somebody removed one."""
    world, command = World(tmp_path), an_apply()
    store = SqliteDisk._store
    with pytest.MonkeyPatch.context() as patched:

        def cutting(self: SqliteDisk, batch: Batch) -> None:
            store(self, batch)
            if any(row[2] == "StepDone" and '"prepare"' in row[3] for row in batch.entries):
                raise PowerCutError

        patched.setattr(SqliteDisk, "_store", cutting)
        assert await cut_off(world, command)
    world.cloud.vanish("demo-workers-0")
    assert (await world.carry_out(command)).outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.names() == THREE
    assert "demo-workers-0" in [target.name for target in world.playbooks.runs[-1].targets]
    assert len(world.playbooks.runs) == 2
    await check_told(world)


async def test_a_machine_that_vanished_after_a_failed_attempt_is_prepared_by_the_next_wish(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    world.playbooks.fails = PlaybookUnreachableError("machine demo-cp-0 does not answer")
    assert (await world.carry_out(an_apply(cluster))).outcome is CommandOutcome.FAILED
    world.playbooks.fails = None
    world.cloud.vanish("demo-workers-0")
    assert (await world.carry_out(an_apply(cluster))).outcome is CommandOutcome.SUCCEEDED
    await check_told(world)


async def test_a_state_directory_that_cannot_be_written_is_named_and_no_machine_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    world = World(tmp_path)
    monkeypatch.setattr("gateway.kit.files.write_whole", full)
    ended = await world.carry_out(an_apply())
    assert ended.problem is not None
    assert ended.problem.code == "appliance.state_unwritable"
    assert "No space left" in ended.problem.message
    assert world.cloud.machines == {}


async def test_a_state_directory_that_cannot_hold_a_directory_is_named_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "clusters").touch()
    ended = await world.carry_out(an_apply())
    assert ended.problem is not None
    assert ended.problem.code == "appliance.state_unwritable"
    assert world.cloud.machines == {}
