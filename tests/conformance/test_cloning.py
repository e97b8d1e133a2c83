"""This file is what cloning promises, on every cloud: each machine once, whole, and ours."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.clouds.port import Cloud, CloudTaskError, NameTakenError, Placement
from tests.conformance.world import USERDATA, Cluster, Seen, World, a_cluster, forget, where


class CutError(Exception):
    """The appliance was killed here."""


class Notebook:
    """Keeps the ids of tasks, as the journal does."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    async def note(self, task: str) -> None:
        self.tasks.append(task)

    async def note_and_die(self, task: str) -> None:
        self.tasks.append(task)
        raise CutError

    async def die(self, _task: str) -> None:
        raise CutError


@pytest.fixture
async def cloud(world: World) -> AsyncIterator[Cloud]:
    async with world.connect() as connection:
        yield connection


@pytest.fixture
async def placement(cloud: Cloud) -> Placement:
    return await cloud.resolve(where())


@pytest.fixture
def cluster() -> Cluster:
    return a_cluster()


async def of(world: World, cluster: Cluster) -> list[Seen]:
    return sorted((one for one in await world.machines() if one.folder == cluster.folder), key=lambda one: one.name)


async def until_there(world: World, cluster: Cluster) -> None:
    async with asyncio.timeout(30):
        while not await of(world, cluster):  # noqa: ASYNC110 - nobody tells when a cloud has done something
            await asyncio.sleep(0.05)


async def test_a_clone_is_what_was_wished(world: World, cloud: Cloud, placement: Placement, cluster: Cluster) -> None:
    wish = cluster.wish(cpus=3, memory_mib=1536)
    machine = await cloud.clone(wish, placement, note=forget, noted=None)
    assert (machine.name, machine.instance_uuid, machine.owner) == (
        wish.owner.machine_name,
        wish.instance_uuid,
        wish.owner,
    )
    assert (machine.powered_on, machine.cpus, machine.memory_mib, machine.address) == (False, 3, 1536, None)
    [seen] = await of(world, cluster)
    assert (seen.name, seen.folder, seen.instance_uuid) == (wish.owner.machine_name, cluster.folder, wish.instance_uuid)
    assert (seen.powered_on, seen.cpus, seen.memory_mib) == (False, 3, 1536)
    assert seen.guest_userdata == USERDATA


async def test_guest_metadata_carries_the_machines_own_mac_address(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    wish = cluster.wish()
    await cloud.clone(wish, placement, note=forget, noted=None)
    [seen] = await of(world, cluster)
    assert seen.mac
    assert seen.guest_metadata == wish.guest_metadata.replace("{mac}", seen.mac)


async def test_a_clone_asked_for_twice_is_one_machine(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    first = await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    second = await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    assert first == second
    assert len(await of(world, cluster)) == 1


async def test_twenty_machines_are_cloned_side_by_side(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for ordinal in range(20):
            group.create_task(cloud.clone(cluster.wish(ordinal), placement, note=forget, noted=None))
    seen = await of(world, cluster)
    assert len({one.instance_uuid for one in seen}) == len({one.mac for one in seen}) == len(seen) == 20
    assert all(one.guest_metadata and one.mac in one.guest_metadata for one in seen)
    assert (await world.folders()).count(cluster.folder) == 1


async def test_a_task_is_noted_before_it_is_waited_for(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await world.slow_clones(1.5)
    seen_at_note: list[int] = []

    async def note(_task: str) -> None:
        seen_at_note.append(len(await of(world, cluster)))

    await cloud.clone(cluster.wish(), placement, note=note, noted=None)
    assert seen_at_note == [0]


async def test_a_clone_cut_after_its_note_is_waited_for_and_adopted(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await world.slow_clones(0.5)
    notebook = Notebook()
    with pytest.raises(CutError):
        await cloud.clone(cluster.wish(), placement, note=notebook.note_and_die, noted=None)
    async with world.connect() as again:
        machine = await again.clone(cluster.wish(), placement, note=notebook.note, noted=notebook.tasks[0])
    assert len(notebook.tasks) == 1
    [seen] = await of(world, cluster)
    assert seen.instance_uuid == machine.instance_uuid
    assert seen.guest_metadata is not None


async def test_a_clone_cut_before_its_note_is_adopted_while_the_cloud_still_makes_it(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await world.slow_clones(0.5)
    with pytest.raises(CutError):
        await cloud.clone(cluster.wish(), placement, note=Notebook().die, noted=None)
    async with world.connect() as again:
        await again.clone(cluster.wish(), placement, note=forget, noted=None)
    [seen] = await of(world, cluster)
    assert seen.guest_metadata is not None


async def test_a_machine_cut_before_its_guest_data_was_written_is_completed(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    notebook = Notebook()
    with pytest.raises(CutError):
        await cloud.clone(cluster.wish(), placement, note=notebook.note_and_die, noted=None)
    await until_there(world, cluster)
    [half_made] = await of(world, cluster)
    assert half_made.guest_metadata is None
    async with world.connect() as again:
        await again.clone(cluster.wish(), placement, note=notebook.note, noted=notebook.tasks[0])
    [seen] = await of(world, cluster)
    assert seen.guest_metadata == cluster.wish().guest_metadata.replace("{mac}", seen.mac)


async def test_a_noted_task_that_the_cloud_has_forgotten_is_no_obstacle(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await cloud.clone(cluster.wish(), placement, note=forget, noted="Task:task-999999")
    assert len(await of(world, cluster)) == 1


async def test_a_failed_clone_is_told_and_can_be_asked_for_again(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await world.fail_next_clone()
    notebook = Notebook()
    with pytest.raises(CloudTaskError):
        await cloud.clone(cluster.wish(), placement, note=notebook.note, noted=None)
    await cloud.clone(cluster.wish(), placement, note=notebook.note, noted=notebook.tasks[0])
    assert len(await of(world, cluster)) == 1


async def test_a_machine_of_the_name_that_is_not_ours_is_left_alone(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    name = cluster.wish().owner.machine_name
    await world.add_stranger(name, folder=cluster.folder)
    before = await of(world, cluster)
    with pytest.raises(NameTakenError, match=name):
        await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    assert await of(world, cluster) == before


async def test_settling_waits_until_a_cut_clone_has_ended(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await world.slow_clones(0.5)
    notebook = Notebook()
    with pytest.raises(CutError):
        await cloud.clone(cluster.wish(), placement, note=notebook.note_and_die, noted=None)
    await cloud.settle(notebook.tasks[0])
    assert len(await cloud.machines(cluster.id, placement)) == 1


async def test_settling_what_nobody_noted_waits_until_a_cut_clone_has_ended(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await world.slow_clones(0.5)
    with pytest.raises(CutError):
        await cloud.clone(cluster.wish(), placement, note=Notebook().die, noted=None)
    async with world.connect() as again:
        await again.settle_unnoted()
        assert len(await again.machines(cluster.id, placement)) == 1


async def test_settling_what_nobody_noted_where_nothing_is_under_way_does_nothing(cloud: Cloud) -> None:
    await cloud.settle_unnoted()


async def test_settling_a_task_that_ended_badly_or_is_forgotten_does_nothing(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await world.fail_next_clone()
    notebook = Notebook()
    with pytest.raises(CloudTaskError):
        await cloud.clone(cluster.wish(), placement, note=notebook.note, noted=None)
    await cloud.settle(notebook.tasks[0])
    await cloud.settle("Task:task-999999")


async def test_a_machine_that_changed_size_while_off_is_brought_to_its_wish(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await cloud.clone(cluster.wish(cpus=2, memory_mib=1024), placement, note=forget, noted=None)
    machine = await cloud.clone(cluster.wish(cpus=4, memory_mib=2048), placement, note=forget, noted=None)
    assert (machine.cpus, machine.memory_mib) == (4, 2048)
    [seen] = await of(world, cluster)
    assert (seen.cpus, seen.memory_mib) == (4, 2048)
