"""This file is what is promised of machines that are there: found, started, reached, removed, on every cloud."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from gateway.clouds.port import Cloud, CloudMachine, FolderNotEmptyError, MachineGoneError, NotThereError, Placement
from tests.conformance.world import Cluster, World, a_cluster, forget, where


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


@pytest.fixture
async def machine(cloud: Cloud, placement: Placement, cluster: Cluster) -> CloudMachine:
    return await cloud.clone(cluster.wish(), placement, note=forget, noted=None)


async def test_a_cluster_without_machines_has_none(cloud: Cloud, placement: Placement, cluster: Cluster) -> None:
    assert await cloud.machines(cluster.id, placement) == []


async def test_the_machines_of_a_cluster_are_its_own_and_no_others(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    other = a_cluster()
    mine = [await cloud.clone(cluster.wish(ordinal), placement, note=forget, noted=None) for ordinal in range(2)]
    await cloud.clone(other.wish(), placement, note=forget, noted=None)
    await world.add_stranger(f"stranger-{cluster.name}", folder=cluster.folder)
    assert await cloud.machines(cluster.id, placement) == mine


async def test_where_a_cluster_was_is_enough_to_find_its_machines(
    cloud: Cloud, machine: CloudMachine, cluster: Cluster
) -> None:
    located = await cloud.locate(where(template="gone-since"))
    assert await cloud.machines(cluster.id, located) == [machine]


async def test_a_machine_that_was_moved_is_found_where_it_is_now(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    moved, stayed = [await cloud.clone(cluster.wish(at), placement, note=forget, noted=None) for at in range(2)]
    await world.move(moved.name, folder=f"elsewhere-{cluster.name}")
    for known in (placement, await cloud.locate(where())):
        assert await cloud.machines(cluster.id, known) == [moved, stayed]


async def test_a_moved_machine_is_found_when_the_clusters_folder_is_gone(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster, machine: CloudMachine
) -> None:
    await world.move(machine.name, folder=f"elsewhere-{cluster.name}")
    await world.remove_folder(cluster.folder)
    assert await cloud.machines(cluster.id, placement) == [machine]
    await cloud.remove(machine)
    await cloud.tidy(cluster.id, cluster.name, placement)
    assert machine.name not in [one.name for one in await world.machines()]


async def test_a_moved_machine_is_adopted_not_cloned_again(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster, machine: CloudMachine
) -> None:
    await world.move(machine.name, folder=f"elsewhere-{cluster.name}")
    assert await cloud.clone(cluster.wish(), placement, note=forget, noted=None) == machine
    assert [one.name for one in await world.machines()].count(machine.name) == 1


async def test_machines_are_found_and_tidied_up_after_when_the_wished_folder_was_changed(
    world: World, cloud: Cloud, cluster: Cluster
) -> None:
    before, after = f"before-{cluster.name}", f"after-{cluster.name}"
    for name in (before, after):
        await world.add_folder(name)
    old = await cloud.clone(cluster.wish(0), await cloud.resolve(where(folder=before)), note=forget, noted=None)
    changed = await cloud.resolve(where(folder=after))
    new = await cloud.clone(cluster.wish(1), changed, note=forget, noted=None)
    assert await cloud.machines(cluster.id, changed) == [old, new]
    assert (await world.folders()).count(cluster.folder) == 2
    for machine in (old, new):
        await cloud.remove(machine)
    await cloud.tidy(cluster.id, cluster.name, changed)
    assert cluster.folder not in await world.folders()
    assert {before, after} <= set(await world.folders())


async def test_a_cluster_can_be_removed_whose_wished_folder_is_gone(
    world: World, cloud: Cloud, cluster: Cluster
) -> None:
    above = f"above-{cluster.name}"
    await world.add_folder(above)
    machine = await cloud.clone(cluster.wish(), await cloud.resolve(where(folder=above)), note=forget, noted=None)
    await world.move(machine.name, folder=f"elsewhere-{cluster.name}")
    await world.remove_folder(cluster.folder)
    await world.remove_folder(above)
    located = await cloud.locate(where(folder=above))
    assert await cloud.machines(cluster.id, located) == [machine]
    await cloud.remove(machine)
    await cloud.tidy(cluster.id, cluster.name, located)


async def test_a_datacenter_that_is_gone_is_told(cloud: Cloud) -> None:
    with pytest.raises(NotThereError, match="'gone'"):
        await cloud.locate(where(datacenter="gone"))


async def test_a_machine_powered_on_twice_is_on(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster, machine: CloudMachine
) -> None:
    await cloud.power_on(machine)
    await cloud.power_on(machine)
    [found] = await cloud.machines(cluster.id, placement)
    assert found.powered_on
    assert [one.powered_on for one in await world.machines() if one.name == machine.name] == [True]


async def test_an_address_is_waited_for(world: World, cloud: Cloud, machine: CloudMachine) -> None:
    await cloud.power_on(machine)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waiting = group.create_task(cloud.address(machine))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await world.give_address(machine.name, "10.1.2.3")
    assert waiting.result() == "10.1.2.3"


async def test_an_address_is_seen_within_a_second(world: World, cloud: Cloud, machine: CloudMachine) -> None:
    await cloud.power_on(machine)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waiting = group.create_task(cloud.address(machine))
        await asyncio.sleep(0.1)
        await world.give_address(machine.name, "10.1.2.4")
        given = monotonic()
        await waiting
    assert monotonic() - given < 1


async def test_an_address_that_cannot_be_reached_is_not_taken(
    world: World, cloud: Cloud, machine: CloudMachine
) -> None:
    await cloud.power_on(machine)
    await world.give_address(machine.name, "169.254.7.7")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waiting = group.create_task(cloud.address(machine))
        await asyncio.sleep(0.6)
        assert not waiting.done()
        await world.give_address(machine.name, "10.1.2.5")
    assert waiting.result() == "10.1.2.5"


async def test_who_stops_waiting_for_an_address_is_let_go_at_once(cloud: Cloud, machine: CloudMachine) -> None:
    await cloud.power_on(machine)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(cloud.address(machine))
        await asyncio.sleep(0.2)
        waiting.cancel()
        for _ in range(20):  # turns of the loop: no answer can come between them
            await asyncio.sleep(0)
        assert waiting.cancelled()


async def test_a_machine_removed_by_hand_is_missed(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster, machine: CloudMachine
) -> None:
    await world.destroy(machine.name)
    with pytest.raises(MachineGoneError):
        await cloud.power_on(machine)
    with pytest.raises(MachineGoneError):
        await cloud.address(machine)
    assert await cloud.machines(cluster.id, placement) == []


async def test_a_machine_removed_by_hand_is_missed_by_who_waits_for_its_address(
    world: World, cloud: Cloud, machine: CloudMachine
) -> None:
    await cloud.power_on(machine)

    async def wait() -> None:
        with pytest.raises(MachineGoneError, match=machine.name):
            await cloud.address(machine)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(wait())
        await asyncio.sleep(0.1)
        await world.destroy(machine.name)


async def test_a_running_machine_is_removed(world: World, cloud: Cloud, machine: CloudMachine) -> None:
    await cloud.power_on(machine)
    await cloud.remove(machine)
    assert machine.name not in [one.name for one in await world.machines()]


async def test_a_machine_removed_twice_is_gone(world: World, cloud: Cloud, machine: CloudMachine) -> None:
    await cloud.remove(machine)
    await cloud.remove(machine)
    assert machine.name not in [one.name for one in await world.machines()]


async def test_a_machine_removed_at_the_same_time_by_two_is_gone(
    world: World, cloud: Cloud, machine: CloudMachine
) -> None:
    await cloud.power_on(machine)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(cloud.remove(machine))
        group.create_task(cloud.remove(machine))
    assert machine.name not in [one.name for one in await world.machines()]


async def test_tidying_removes_the_clusters_empty_folder(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster, machine: CloudMachine
) -> None:
    await cloud.remove(machine)
    assert cluster.folder in await world.folders()
    await cloud.tidy(cluster.id, cluster.name, placement)
    assert cluster.folder not in await world.folders()


async def test_tidying_tells_of_a_machine_of_ours_that_is_left(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster, machine: CloudMachine
) -> None:
    with pytest.raises(FolderNotEmptyError, match=machine.name):
        await cloud.tidy(cluster.id, cluster.name, placement)
    assert cluster.folder in await world.folders()
    assert await cloud.machines(cluster.id, placement) == [machine]


async def test_tidying_tells_of_a_stranger_in_the_folder_and_leaves_both(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await world.add_stranger(f"stranger-{cluster.name}", folder=cluster.folder)
    with pytest.raises(FolderNotEmptyError, match=rf"still holds stranger-{cluster.name}.*remove or move"):
        await cloud.tidy(cluster.id, cluster.name, placement)
    assert cluster.folder in await world.folders()
    await world.move(f"stranger-{cluster.name}", folder=f"elsewhere-{cluster.name}")
    await cloud.tidy(cluster.id, cluster.name, placement)
    assert cluster.folder not in await world.folders()
    assert f"stranger-{cluster.name}" in [one.name for one in await world.machines()]


async def test_tidying_tells_of_a_machine_that_has_lost_its_marks(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster, machine: CloudMachine
) -> None:
    await world.strip(machine.name)
    assert await cloud.machines(cluster.id, placement) == []
    with pytest.raises(FolderNotEmptyError, match=machine.name):
        await cloud.tidy(cluster.id, cluster.name, placement)


async def test_tidying_where_nothing_was_made_does_nothing(
    world: World, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    before = await world.folders()
    await cloud.tidy(cluster.id, cluster.name, placement)
    await cloud.tidy(cluster.id, cluster.name, placement)
    assert await world.folders() == before
