"""This file is that a plan tells the truth about what is done, on every cloud, the lab's vCenter among them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gateway.clouds.port import Cloud
from gateway.contract.clusters import ClusterSpec
from gateway.contract.commands import ApplyCluster, Command, DeleteCluster, PlanCluster
from gateway.contract.events import CommandEnded, CommandOutcome, StepBegan, StepDone
from gateway.contract.plans import Capacity, Plan
from gateway.kit import supervise
from tests.conformance.world import Seen, World
from tests.fakes.wishes import PLACEMENT, a_cluster, a_command
from tests.unit.provisioning import world as inside


@dataclass
class Reached:
    """The cloud under test, as an appliance's inside wants it."""

    world: World

    def connect(self, _account: str) -> AbstractAsyncContextManager[Cloud]:
        return self.world.connect()


@dataclass
class Appliance:
    """An appliance's inside on the cloud under test, and a cluster of its own there."""

    world: World
    inside: inside.World
    id: UUID
    name: str

    def spec(self, *, workers: int) -> ClusterSpec:
        return a_cluster(self.name, workers=workers)

    def applies(self, *, workers: int) -> ApplyCluster:
        return ApplyCluster(cluster_id=self.id, spec=self.spec(workers=workers))

    def deletes(self) -> DeleteCluster:
        return DeleteCluster(cluster_id=self.id, name=self.name, cloud=PLACEMENT)

    async def ends(self, command: Command) -> CommandEnded:
        async with self._machines_boot():
            return await self.inside.carry_out(command)

    async def plan(self, task: ApplyCluster | DeleteCluster) -> Plan:
        command = a_command(PlanCluster(of=task))
        assert (await self.ends(command)).outcome is CommandOutcome.SUCCEEDED
        return await self.told(command)

    async def told(self, command: Command) -> Plan:
        bodies = [event.body for event in await self.inside.events() if event.command_id == command.id]
        return next(body.plan for body in bodies if isinstance(body, StepDone) and body.plan is not None)

    async def steps(self, command: Command) -> set[str]:
        bodies = [event.body for event in await self.inside.events() if event.command_id == command.id]
        return {body.step for body in bodies if isinstance(body, StepBegan)}

    async def machines(self) -> list[Seen]:
        ours = [one for one in await self.world.machines() if one.name.startswith(f"{self.name}-")]
        return sorted(ours, key=lambda one: one.name)

    @asynccontextmanager
    async def _machines_boot(self) -> AsyncIterator[None]:
        """Have each machine that is powered on report an address, as its tools would."""

        async def boot() -> None:
            while True:
                for one in await self.machines():
                    if one.powered_on:
                        await self.world.give_address(one.name, "10.0.0.9")
                await asyncio.sleep(0.1)

        async with supervise.running(boot=boot()):
            yield


@pytest.fixture
def appliance(world: World, tmp_path: Path) -> Appliance:
    made = uuid4()
    reached = inside.World(tmp_path, cloud=Reached(world))  # type: ignore[arg-type]
    return Appliance(world, reached, made, f"p{made.hex[:6]}")


async def test_what_a_plan_says_is_made_is_made_and_then_its_plan_is_empty(appliance: Appliance) -> None:
    task = appliance.applies(workers=1)
    plan = await appliance.plan(task)
    assert await appliance.machines() == []
    assert plan.added.disk_mib > 0
    assert plan.added == Capacity(machines=2, cpus=4, memory_mib=4096, disk_mib=plan.added.disk_mib)

    command = a_command(task.model_copy(update={"plan": plan.sha256}))
    assert (await appliance.ends(command)).outcome is CommandOutcome.SUCCEEDED

    assert await appliance.told(command) == plan
    assert await appliance.steps(command) == {step.step for step in plan.steps}
    made = await appliance.machines()
    assert sum(one.cpus for one in made) == plan.added.cpus
    assert sum(one.memory_mib for one in made) == plan.added.memory_mib
    again = await appliance.plan(task)
    assert again.changes_nothing
    assert (again.there, again.added, again.removed) == (2, Capacity(), Capacity())

    gone = await appliance.plan(appliance.deletes())
    assert gone.removed == plan.added  # the disks of what was made are as large as was said
    ended = await appliance.ends(a_command(appliance.deletes().model_copy(update={"plan": gone.sha256})))
    assert ended.outcome is CommandOutcome.SUCCEEDED
    assert await appliance.machines() == []


async def test_a_plan_that_is_no_longer_true_changes_nothing(appliance: Appliance, world: World) -> None:
    assert (await appliance.ends(a_command(appliance.applies(workers=1)))).outcome is CommandOutcome.SUCCEEDED
    seen = await appliance.plan(appliance.applies(workers=2))
    await world.destroy(f"{appliance.name}-workers-0")
    left = await appliance.machines()

    ended = await appliance.ends(a_command(appliance.applies(workers=2).model_copy(update={"plan": seen.sha256})))

    assert ended.outcome is CommandOutcome.REFUSED
    assert ended.problem is not None
    assert ended.problem.code == "plan.changed"
    assert f"{appliance.name}-workers-0/clone has come to it" in ended.problem.message
    assert await appliance.machines() == left
    assert (await appliance.ends(a_command(appliance.deletes()))).outcome is CommandOutcome.SUCCEEDED
