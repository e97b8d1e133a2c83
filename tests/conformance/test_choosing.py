"""This file is what is promised before anything is made: signing in, looking around, looking names up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.clouds.port import AmbiguousNameError, Cloud, CloudSignInError, NotThereError
from tests.conformance.world import TEMPLATE, World, a_cluster, forget, where


@pytest.fixture
async def cloud(world: World) -> AsyncIterator[Cloud]:
    async with world.connect() as connection:
        yield connection


@pytest.fixture
async def second_template(world: World) -> AsyncIterator[str]:
    """Another template of the same name, in a folder."""
    await world.add_template(f"old/{TEMPLATE}")
    yield f"old/{TEMPLATE}"
    await world.remove_templates()


async def test_a_wrong_password_is_refused(world: World) -> None:
    with pytest.raises(CloudSignInError):
        async with world.connect_with_wrong_password():
            pass
    assert await world.sessions() == 0


async def test_leaving_signs_out(world: World) -> None:
    async with world.connect() as cloud:
        await cloud.inventory()
        assert await world.sessions() == 1
    assert await world.sessions() == 0


async def test_leaving_by_an_error_or_a_cancellation_signs_out(world: World) -> None:
    with pytest.raises(LookupError):
        async with world.connect():
            raise LookupError
    inside = asyncio.Event()

    async def stay() -> None:
        async with world.connect():
            inside.set()
            await asyncio.Event().wait()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        staying = group.create_task(stay())
        await inside.wait()
        staying.cancel()
    assert await world.sessions() == 0


async def test_a_session_ended_by_the_cloud_is_begun_again(world: World) -> None:
    cluster = a_cluster()
    async with world.connect() as cloud:
        placement = await cloud.resolve(where())
        await world.end_sessions()
        machine = await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
        await world.end_sessions()
        await cloud.power_on(machine)
        await world.end_sessions()
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(cloud.inventory())
        await world.end_sessions()
        assert len(await cloud.machines(cluster.id, placement)) == 1
        assert await world.sessions() == 1
    assert await world.sessions() == 0


async def test_a_session_ended_while_an_address_is_waited_for_is_begun_again(world: World) -> None:
    async with world.connect() as cloud:
        placement = await cloud.resolve(where())
        machine = await cloud.clone(a_cluster().wish(), placement, note=forget, noted=None)
        await cloud.power_on(machine)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            waiting = group.create_task(cloud.address(machine))
            await asyncio.sleep(0.1)
            await world.end_sessions()
            await world.give_address(machine.name, "10.9.8.7")
        assert waiting.result() == "10.9.8.7"


async def test_the_inventory_tells_what_there_is_to_choose_from(cloud: Cloud) -> None:
    inventory = await cloud.inventory()
    assert inventory.product
    assert TEMPLATE in [one.name for one in inventory.templates]
    assert inventory.datacenters == ["DC0"]
    assert inventory.compute_clusters
    assert inventory.networks
    assert [one.capacity_gib > 0 for one in inventory.datastores] == [True]


async def test_what_is_left_out_is_chosen_when_there_is_only_one(cloud: Cloud) -> None:
    placement = await cloud.resolve(where())
    assert placement.wish == where()
    assert placement.ids["datacenter"]


async def test_looking_up_changes_nothing(world: World, cloud: Cloud) -> None:
    before = (await world.machines(), await world.folders())
    await cloud.resolve(where())
    assert (await world.machines(), await world.folders()) == before


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        (lambda: where("windows"), "template"),
        (lambda: where().model_copy(update={"datacenter": "windows"}), "datacenter"),
        (lambda: where().model_copy(update={"compute_cluster": "windows"}), "compute cluster"),
        (lambda: where().model_copy(update={"datastore": "windows"}), "datastore"),
        (lambda: where().model_copy(update={"network": "windows"}), "network"),
    ],
)
async def test_a_name_that_is_not_there_is_told_with_those_that_are(
    cloud: Cloud, wish: Callable[[], Any], kind: str
) -> None:
    with pytest.raises(NotThereError, match=rf"no {kind} 'windows' .*; there are: \w") as caught:
        await cloud.resolve(wish())
    assert caught.value.facts["name"] == "windows"


async def test_a_name_that_fits_two_is_asked_back_with_paths(cloud: Cloud, second_template: str) -> None:
    with pytest.raises(AmbiguousNameError, match=rf"give the path of one: .*{second_template}"):
        await cloud.resolve(where())


async def test_a_path_says_which_of_two_is_meant(cloud: Cloud, second_template: str) -> None:
    placement = await cloud.resolve(where(second_template))
    assert placement.ids["template"]
