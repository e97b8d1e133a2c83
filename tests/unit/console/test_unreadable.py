"""This file is what becomes of rows that a stricter contract refuses: they are named, and hold up nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from gateway.console.store import tables
from gateway.console.store.scope import Within
from gateway.contract.clusters import MachinePhase
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, StepBegan
from tests.fakes.console import Console, cluster, paired_appliance
from tests.unit.console.test_relay import machine, show_command
from tests.unit.console.test_streams import watching

SUCCEEDED = CommandEnded(outcome=CommandOutcome.SUCCEEDED)


@asynccontextmanager
async def spoiling(console: Console) -> AsyncIterator[Within]:
    async with console.store() as store, store.writing(await console.scope()) as rows:
        yield rows


async def test_a_cluster_that_cannot_be_read_hides_no_other(console: Console) -> None:
    await paired_appliance(console)
    for name in ("bad", "good"):
        await console.put(cluster(name))
    async with spoiling(console) as rows:
        await rows.run(rows.update(tables.clusters).where(tables.clusters.c.name == "bad").values(spec={"odd": 1}))

    listed = (await console.ask("GET", "/api/v1/projects/default/clusters")).body["items"]
    shown = await console.ask("GET", "/api/v1/projects/default/clusters/bad")

    assert [one["name"] for one in listed] == ["good"]
    assert (shown.status, shown.body["code"], "'bad'" in shown.body["message"]) == (
        500,
        "console.record_unreadable",
        True,
    )
    assert (await console.ask("DELETE", "/api/v1/gateways/dc1?forget=true")).status == 200


async def test_a_command_that_cannot_be_read_ends_and_the_next_is_delivered(console: Console) -> None:
    appliance = await paired_appliance(console)
    bad = (await console.put(cluster("bad"))).body["command"]["id"]
    good = (await console.put(cluster("good"))).body["command"]["id"]
    async with spoiling(console) as rows:
        await rows.run(rows.update(tables.commands).where(tables.commands.c.id == UUID(bad)).values(body={}))

    async with watching(console, command=bad) as watch, appliance.connected() as line:
        assert str((await line.take()).id) == good
        seen = (await watch.next())["body"]

    assert (seen["outcome"], seen["problem"]["code"]) == ("refused", "console.record_unreadable")
    assert (await show_command(console, UUID(bad)))["code"] == "console.record_unreadable"


async def test_reports_about_what_cannot_be_read_hold_up_no_others(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as line:
        await console.put(cluster("bad"))
        bad = await line.take()
        await console.put(cluster("good"))
        good = await line.take()
        async with spoiling(console) as rows:
            await rows.run(rows.update(tables.commands).where(tables.commands.c.id == bad.id).values(body={}))
        await line.report(bad.id, CommandBegan(attempt=1), SUCCEEDED)
        assert await line.report(good.id, CommandBegan(attempt=1), SUCCEEDED) == 4

    shown = await console.ask("GET", "/api/v1/projects/default/clusters/good")
    assert shown.body["phase"] == "ready"
    async with watching(console, command=str(bad.id)) as watch:
        assert [(await watch.next())["body"]["type"] for _ in range(2)] == ["command.began", "command.ended"]


async def test_a_machine_or_event_that_cannot_be_read_is_left_out(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        command = await line.take()
        await line.report(command.id, machine(0, MachinePhase.CLONED), machine(1, MachinePhase.CLONED))
        await line.report(command.id, StepBegan(step="a", title="b"))
    async with spoiling(console) as rows:
        odd, event = tables.machines, tables.events
        await rows.run(rows.update(odd).where(odd.c.name == "demo-workers-0").values(report={}))
        await rows.run(rows.update(event).where(event.c.position < 3).values(body={}))

    shown = (await console.ask("GET", "/api/v1/projects/default/clusters/demo")).body
    async with watching(console) as watch:
        seen = await watch.next()

    assert [one["name"] for one in shown["machines"]] == ["demo-workers-1"]
    assert seen["body"]["type"] == "step.began"
