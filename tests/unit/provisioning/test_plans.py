"""This file is what a plan promises: it says what will be done, that is what is done, and nothing else is."""

import shutil
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from gateway.clouds.port import CloudMachine, Owner, Placement
from gateway.commands.disk import Batch
from gateway.commands.sqlitedisk import SqliteDisk
from gateway.contract.clusters import ClusterSpec, NodePool, PoolRole
from gateway.contract.commands import ApplyCluster, Command, DeleteCluster, PlanCluster
from gateway.contract.events import CommandOutcome, StepBegan, StepDone
from gateway.contract.plans import Capacity, Effect, Plan, digest_of
from gateway.kit import ids
from gateway.provisioning import drawing, plans
from gateway.provisioning.plans import Prepared
from tests.fakes.cloud import DISK_MIB
from tests.fakes.wishes import PLACEMENT, a_cluster, a_command, a_delete, an_apply
from tests.unit.provisioning.test_power_cuts import cut_off
from tests.unit.provisioning.test_what_is_told import CuttingJournal
from tests.unit.provisioning.world import PowerCutError, World

CLUSTER = UUID(int=7)


async def plan_of(world: World, task: ApplyCluster | DeleteCluster) -> Plan:
    """Return what a plan command has told."""
    command = a_command(PlanCluster(of=task))
    assert (await world.carry_out(command)).outcome is CommandOutcome.SUCCEEDED
    return (await plans_told(world, command))[0]


async def plans_told(world: World, command: Command) -> list[Plan]:
    bodies = [event.body for event in await world.events() if event.command_id == command.id]
    return [body.plan for body in bodies if isinstance(body, StepDone) and body.plan is not None]


async def steps_taken(world: World, command: Command) -> set[str]:
    bodies = [event.body for event in await world.events() if event.command_id == command.id]
    return {body.step for body in bodies if isinstance(body, StepBegan)}


def marks(plan: Plan) -> dict[str, Effect]:
    return {step.step: step.effect for step in plan.steps if step.effect is not Effect.NONE}


async def test_a_plan_of_a_new_cluster_names_every_step_and_makes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    plan = await plan_of(world, ApplyCluster(cluster_id=CLUSTER, spec=a_cluster(workers=1)))
    assert [step.step for step in plan.steps] == [
        "check",
        *("demo-cp-0/clone", "demo-cp-0/power-on", "demo-cp-0/address"),
        *("demo-workers-0/clone", "demo-workers-0/power-on", "demo-workers-0/address"),
        "prepare",
    ]
    assert plan.added == Capacity(machines=2, cpus=4, memory_mib=4096, disk_mib=2 * DISK_MIB)
    assert (plan.removed, plan.there) == (Capacity(), 0)
    assert (world.cloud.machines, world.cloud.folders, world.playbooks.runs) == ({}, set(), [])
    assert not (tmp_path / "clusters").exists()


async def test_the_plan_of_an_applied_wish_is_empty(tmp_path: Path) -> None:
    world = World(tmp_path)
    task = ApplyCluster(cluster_id=CLUSTER, spec=a_cluster())
    await world.carry_out(a_command(task))
    plan = await plan_of(world, task)
    assert plan.changes_nothing
    assert (plan.added, plan.removed, plan.there) == (Capacity(), Capacity(), 3)


async def test_what_is_asked_twice_is_planned_with_one_hash_whatever_id_a_new_cluster_will_have(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = await plan_of(world, ApplyCluster(cluster_id=uuid4(), spec=a_cluster()))
    other = await plan_of(world, ApplyCluster(cluster_id=uuid4(), spec=a_cluster()))
    assert one == other
    assert one.sha256 == digest_of(one)


async def test_a_smaller_wish_shows_what_is_destroyed(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.carry_out(an_apply(CLUSTER))
    plan = await plan_of(world, ApplyCluster(cluster_id=CLUSTER, spec=a_cluster(workers=1)))
    assert marks(plan) == {"demo-workers-1/remove": Effect.REMOVE}
    assert plan.steps[-1].destroys == ["machine demo-workers-1 with its disks"]
    assert plan.removed == Capacity(machines=1, cpus=2, memory_mib=2048, disk_mib=DISK_MIB)


async def test_a_machine_that_was_there_and_is_gone_is_told_as_made_anew(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.carry_out(an_apply(CLUSTER))
    world.cloud.vanish("demo-workers-0")
    plan = await plan_of(world, ApplyCluster(cluster_id=CLUSTER, spec=a_cluster()))
    assert [step.rebuilds for step in plan.steps if step.rebuilds] == [["demo-workers-0"]]
    assert marks(plan) == {
        "demo-workers-0/clone": Effect.ADD,
        "demo-workers-0/power-on": Effect.CHANGE,
        "prepare": Effect.CHANGE,
    }


async def test_other_keys_and_time_servers_are_shown_before_and_after(tmp_path: Path) -> None:
    world, spec = World(tmp_path), a_cluster()
    old = spec.model_copy(update={"ssh_authorized_keys": ["ssh-ed25519 AAAA0001 old"], "ntp_servers": ["10.0.0.1"]})
    new = spec.model_copy(update={"ssh_authorized_keys": ["ssh-ed25519 AAAA0002 new"], "ntp_servers": ["10.0.0.1"]})
    await world.carry_out(an_apply(CLUSTER, old))
    plan = await plan_of(world, ApplyCluster(cluster_id=CLUSTER, spec=new))
    assert marks(plan) == {"prepare": Effect.CHANGE}
    changes = [(one.what, one.before, one.after) for one in plan.steps[-1].changes]
    assert changes == [
        ("ssh_authorized_keys", "ssh-ed25519 …AAAA0001 old", None),
        ("ssh_authorized_keys", None, "ssh-ed25519 …AAAA0002 new"),
    ]


async def test_a_delete_has_a_plan_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.carry_out(an_apply(CLUSTER))
    task = DeleteCluster(cluster_id=CLUSTER, name="demo", cloud=PLACEMENT)
    plan = await plan_of(world, task)
    assert plan.removed.machines == 3
    assert plan.steps[-1].step == "tidy"
    assert world.cloud.names() == ["demo-cp-0", "demo-workers-0", "demo-workers-1"]
    command = a_command(task.model_copy(update={"plan": plan.sha256}))
    assert (await world.carry_out(command)).outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.names() == []
    assert await steps_taken(world, command) == {step.step for step in plan.steps}


@pytest.mark.parametrize(
    ("before", "after"), [(None, 2), (2, 2), (2, 4), (4, 1), (2, 0)], ids=["new", "same", "more", "fewer", "none"]
)
async def test_the_steps_that_are_planned_are_the_steps_that_are_taken(
    tmp_path: Path, before: int | None, after: int
) -> None:
    world = World(tmp_path)
    if before is not None:
        await world.carry_out(an_apply(CLUSTER, a_cluster(workers=before)))
    task = ApplyCluster(cluster_id=CLUSTER, spec=a_cluster(workers=after))
    plan = await plan_of(world, task)
    command = a_command(task.model_copy(update={"plan": plan.sha256}))
    assert (await world.carry_out(command)).outcome is CommandOutcome.SUCCEEDED
    assert await steps_taken(world, command) == {step.step for step in plan.steps}
    assert await plans_told(world, command) == [plan]


async def test_an_apply_bound_to_another_plan_is_refused_with_the_difference_and_changes_nothing(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    await world.carry_out(an_apply(CLUSTER))
    task = ApplyCluster(cluster_id=CLUSTER, spec=a_cluster(workers=3))
    seen = await plan_of(world, task)
    world.cloud.vanish("demo-workers-0")
    before = dict(world.cloud.machines)
    command = a_command(task.model_copy(update={"plan": seen.sha256}))
    ended = await world.carry_out(command)
    assert ended.outcome is CommandOutcome.REFUSED
    assert ended.problem is not None
    assert ended.problem.code == "plan.changed"
    assert "demo-workers-0/clone has come to it" in ended.problem.message
    assert ["demo-workers-0/clone"] in [fault.where for fault in ended.problem.faults]
    assert world.cloud.machines == before
    assert (await plans_told(world, command))[0].sha256 != seen.sha256


async def test_an_apply_bound_to_a_plan_that_nobody_has_made_here_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    task = ApplyCluster(cluster_id=CLUSTER, spec=a_cluster(), plan="0" * 64)
    ended = await world.carry_out(a_command(task))
    assert ended.outcome is CommandOutcome.REFUSED
    assert ended.problem is not None
    assert "what differs cannot be told" in ended.problem.message
    assert (world.cloud.machines, world.playbooks.runs) == ({}, [])
    assert not (tmp_path / "clusters").exists()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_power_cut_anywhere_in_an_approved_apply_does_not_undo_the_approval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    journal, cuts = CuttingJournal(monkeypatch, after=after), 0
    while True:
        state = tmp_path / str(cuts)
        state.mkdir()
        world, cluster = World(state), uuid4()
        await world.carry_out(an_apply(cluster))
        task = ApplyCluster(cluster_id=cluster, spec=a_cluster(workers=1))
        plan = await plan_of(world, task)
        command = a_command(task.model_copy(update={"plan": plan.sha256}))
        if not await journal.cuts(world, command, at=cuts + 1):
            break
        cuts += 1
        assert (await world.carry_out(command)).outcome is CommandOutcome.SUCCEEDED
        assert world.cloud.names() == ["demo-cp-0", "demo-workers-0"]
        shutil.rmtree(state)
    assert cuts > 8


async def test_a_power_cut_makes_no_room_for_what_was_not_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The approved plan adds one machine; while the appliance is down somebody removes another."""
    world = World(tmp_path)
    await world.carry_out(an_apply(CLUSTER))
    task = ApplyCluster(cluster_id=CLUSTER, spec=a_cluster(workers=3))
    command = a_command(task.model_copy(update={"plan": (await plan_of(world, task)).sha256}))
    with monkeypatch.context() as patched:
        store = SqliteDisk._store

        def cutting(self: SqliteDisk, batch: Batch) -> None:
            store(self, batch)
            if any(row[2] == "StepBegan" and "workers-2/clone" in row[3] for row in batch.entries):
                raise PowerCutError

        patched.setattr(SqliteDisk, "_store", cutting)
        assert await cut_off(world, command)
    world.cloud.vanish("demo-workers-0")
    ended = await world.carry_out(command)
    assert ended.problem is not None
    assert (ended.outcome, ended.problem.code) == (CommandOutcome.FAILED, "plan.changed")
    assert "demo-workers-0" not in world.cloud.names()


def machine_of(spec: ClusterSpec, pool: NodePool, ordinal: int, *, powered_on: bool) -> CloudMachine:
    owner = Owner(CLUSTER, spec.name, pool.name, pool.role, ordinal)
    instance = ids.machine_uuid(CLUSTER, pool.name, ordinal)
    return CloudMachine(
        str(instance), owner.machine_name, instance, owner, powered_on, pool.cpus, pool.memory_mib, None
    )


POOLS = some.lists(
    some.builds(
        NodePool, name=some.sampled_from(["a", "b", "c"]), role=some.just(PoolRole.WORKER), count=some.integers(0, 4)
    ),
    unique_by=lambda pool: pool.name,
    max_size=3,
)
SPECS = POOLS.map(
    lambda pools: ClusterSpec(
        name="demo",
        gateway="dc1",
        cloud=PLACEMENT,
        pools=[NodePool(name="cp", role=PoolRole.CONTROL_PLANE, count=1), *pools],
    )
)


@settings(max_examples=200)
@given(spec=SPECS, was=SPECS, on=some.booleans(), shuffled=some.randoms(use_true_random=False))
def test_a_plan_accounts_for_every_machine_and_depends_on_no_order(
    spec: ClusterSpec, was: ClusterSpec, on: bool, shuffled: Random
) -> None:
    there = [machine_of(was, pool, at, powered_on=on) for pool in was.pools for at in range(pool.count)]
    placement, task = Placement(PLACEMENT, {}, disk_mib=10), ApplyCluster(cluster_id=CLUSTER, spec=spec)
    prepared = Prepared(frozenset(one.instance_uuid for one in there))

    def draw(found: list[CloudMachine]) -> Plan:
        return drawing.drawn(task, plans.apply_cluster(CLUSTER, spec, found), placement, prepared)

    plan = draw(there)
    assert plan.there + plan.added.machines == sum(pool.count for pool in spec.pools)
    assert plan.there + plan.removed.machines == len(there)
    again = list(there)
    shuffled.shuffle(again)
    assert draw(again) == plan
    assert plan.changes_nothing == (spec_names(spec) == spec_names(was) and on)


def spec_names(spec: ClusterSpec) -> set[tuple[str, int]]:
    return {(pool.name, at) for pool in spec.pools for at in range(pool.count)}


async def test_a_plan_that_is_too_long_is_told_in_part_and_keeps_its_hash(tmp_path: Path) -> None:
    plan = await plan_of(World(tmp_path), ApplyCluster(cluster_id=CLUSTER, spec=a_cluster(workers=8)))
    told = plan.told(limit=2000)
    assert len(told.model_dump_json().encode()) <= 2000
    assert told.left_out == len(plan.steps) - len(told.steps) > 0
    assert told.sha256 == plan.sha256
    assert not told.changes_nothing


def test_a_wish_that_is_bound_to_no_plan_says_nothing_that_an_older_appliance_would_refuse() -> None:
    assert "plan" not in an_apply().task.model_dump()
    assert "plan" not in a_delete(CLUSTER).model_dump(mode="json")["task"]
    bound = a_delete(CLUSTER).task.model_copy(update={"plan": "0" * 64})
    assert bound.model_dump()["plan"] == "0" * 64
