"""This file is the way out when a gateway is lost: it can be removed, and nobody waits for it for ever."""

import asyncio

from gateway.console.store import events
from gateway.console.store.events import Watched
from gateway.contract.clusters import MachinePhase
from gateway.contract.events import CommandBegan, CommandEnded
from tests.fakes.console import Console, cluster, paired_appliance
from tests.unit.console.test_relay import closed, machine
from tests.unit.console.test_streams import watching

GATEWAY = "/api/v1/gateways/dc1"


async def test_a_lost_gateway_is_forgotten_with_its_clusters_and_paired_anew(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        command = await line.take()
        await line.report(command.id, CommandBegan(attempt=1), machine(0, MachinePhase.CLONED))
    await console.put(cluster("other"))

    said = await console.ask("DELETE", f"{GATEWAY}?forget=true")

    assert said.status == 200
    assert [(one["name"], one["machines"]) for one in said.body["forgotten"]] == [
        ("demo", ["demo-workers-0"]),
        ("other", []),
    ]
    assert "have to be removed there by hand" in said.body["message"]
    assert (await console.ask("GET", "/api/v1/projects/default/clusters")).body["items"] == []
    await paired_appliance(console)
    assert (await console.put(cluster())).status == 202


async def test_every_open_command_of_a_removed_gateway_ends_for_whoever_watches(console: Console) -> None:
    appliance = await paired_appliance(console)
    running = (await console.put(cluster())).body["command"]["id"]
    async with appliance.connected() as line:
        await line.report((await line.take()).id, CommandBegan(attempt=1))
        pending = (await console.put(cluster("other"))).body["command"]["id"]
        await line.take()
        async with watching(console, command=running) as watch:
            await console.ask("DELETE", f"{GATEWAY}?forget=true")
            seen = [(await watch.next())["body"] for _ in range(2)][-1]
        async with asyncio.timeout(20):
            assert await closed(line) == 4000

    assert (seen["outcome"], seen["problem"]["code"]) == ("cancelled", "gateway.removed")
    for command in (running, pending):
        shown = (await console.ask("GET", f"/api/v1/commands/{command}")).body
        assert (shown["state"], shown["problem"]["code"]) == ("cancelled", "gateway.removed")


async def test_a_plain_removal_ends_open_commands_too(console: Console) -> None:
    await paired_appliance(console)
    asked = (await console.ask("POST", f"{GATEWAY}/inventory", {"account": "main"})).body["id"]

    await console.ask("DELETE", GATEWAY)

    assert (await console.ask("GET", f"/api/v1/commands/{asked}")).body["state"] == "cancelled"
    async with console.store() as store, store.reading(await console.scope()) as rows:
        (event,) = await events.after(rows, 0, watched=Watched(), limit=9)
    assert isinstance(event.body, CommandEnded)


async def test_another_tenants_gateway_of_the_same_name_is_not_touched(console: Console) -> None:
    stranger = await console.add_tenant("stranger")
    await paired_appliance(console)
    await paired_appliance(console, key=stranger)
    theirs = (await console.put(cluster(), key=stranger)).body["command"]["id"]

    await console.ask("DELETE", f"{GATEWAY}?forget=true")

    assert (await console.ask("GET", GATEWAY, key=stranger)).status == 200
    assert (await console.ask("GET", f"/api/v1/commands/{theirs}", key=stranger)).body["state"] == "pending"
