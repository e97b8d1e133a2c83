"""This file is what the relay promises to an appliance, over the real tunnel."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.console.store import events
from gateway.console.store.events import Watched
from gateway.contract.clusters import Machine, MachinePhase
from gateway.contract.commands import ApplyCluster, DeleteCluster, ReadInventory
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, EventBody, MachineSeen, StepBegan
from gateway.contract.inventory import Inventory
from gateway.contract.messages import Accepted, Acknowledge, Deliver, Hello, Rejected, ReportEvents, Welcome
from gateway.contract.problems import Problem
from gateway.contract.version import PROTOCOL
from gateway.identity import keys, tls
from gateway.identity.authority import Authority, certificate_request
from gateway.kit.errors import Remedy
from gateway.tunnel.channel import ChannelClosedError
from tests.fakes.console import Appliance, Console, Line, cluster, paired_appliance, running_console

PROBLEM = Problem(code="cloud.sign_in", message="the password is wrong", remedy=Remedy.OPERATOR)
SUCCEEDED = CommandEnded(outcome=CommandOutcome.SUCCEEDED)


def machine(ordinal: int, phase: MachinePhase) -> MachineSeen:
    name = f"demo-workers-{ordinal}"
    return MachineSeen(
        machine=Machine(name=name, pool="workers", ordinal=ordinal, instance_uuid=UUID(int=ordinal), phase=phase)
    )


async def show(console: Console, name: str = "demo") -> dict[str, Any]:
    shown: dict[str, Any] = (await console.ask("GET", f"/api/v1/projects/default/clusters/{name}")).body
    return shown


async def show_command(console: Console, command: UUID) -> dict[str, Any]:
    shown: dict[str, Any] = (await console.ask("GET", f"/api/v1/commands/{command}")).body
    return shown


async def closed(line: Line) -> int:
    """Wait until the console closes the channel and return its code."""
    try:
        async with asyncio.timeout(20):
            while True:
                await line.channel.receive()
    except ChannelClosedError as fault:
        return int(fault.facts["close_code"] or 0)


async def test_a_gateway_is_shown_connected_with_what_it_says_of_itself(console: Console) -> None:
    appliance = await paired_appliance(console)

    async with appliance.connected():
        shown = (await console.ask("GET", "/api/v1/gateways/dc1")).body

    assert (shown["status"], shown["software"], shown["accounts"]) == ("connected", "9.9", ["main"])


async def test_a_gateway_away_for_long_is_shown_disconnected(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected():
        pass
    console.clock.ahead = timedelta(seconds=46)

    assert (await console.ask("GET", "/api/v1/gateways/dc1")).body["status"] == "disconnected"


async def test_a_wish_goes_the_whole_road_and_back(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as line:
        await console.put(cluster())
        command = await line.take()
        assert isinstance(command.task, ApplyCluster)
        assert command.task.spec == cluster()
        await line.report(command.id, CommandBegan(attempt=1), machine(0, MachinePhase.CLONED))
        shown = await show(console)
        assert (shown["phase"], shown["last_command"]["state"]) == ("provisioning", "running")
        assert [one["phase"] for one in shown["machines"]] == ["cloned"]
        await line.report(command.id, machine(0, MachinePhase.PREPARED), SUCCEEDED)
        assert (await show(console))["phase"] == "ready"

        await console.ask("DELETE", "/api/v1/projects/default/clusters/demo")
        command = await line.take()
        assert isinstance(command.task, DeleteCluster)
        await line.report(command.id, CommandBegan(attempt=1), machine(0, MachinePhase.REMOVED))
        assert ((await show(console))["phase"], (await show(console))["machines"]) == ("deleting", [])
        await line.report(command.id, SUCCEEDED)

    assert (await show(console))["code"] == "cluster.unknown"
    assert (await show_command(console, command.id))["state"] == "succeeded"


async def test_deleting_twice_asks_the_gateway_once(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as line:
        await console.put(cluster())
        await line.take()
        first = await console.ask("DELETE", "/api/v1/projects/default/clusters/demo")
        second = await console.ask("DELETE", "/api/v1/projects/default/clusters/demo")
        refused = await console.put(cluster())

    assert first.body["command"]["id"] == second.body["command"]["id"]
    assert (refused.status, refused.body["code"]) == (409, "cluster.being_deleted")


async def test_a_wish_made_while_the_gateway_is_away_is_delivered_when_it_comes(console: Console) -> None:
    appliance = await paired_appliance(console)
    wished = (await console.put(cluster())).body

    async with appliance.connected() as line:
        assert str((await line.take()).id) == wished["command"]["id"]


async def test_a_command_that_was_not_accepted_is_delivered_again(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        first = await line.hear(Deliver)

    async with appliance.connected() as line:
        assert await line.hear(Deliver) == first


async def test_a_sent_wish_is_not_taken_back_by_a_later_one(console: Console) -> None:
    appliance = await paired_appliance(console)
    first = (await console.put(cluster())).body["command"]["id"]
    async with appliance.connected() as line:
        await line.hear(Deliver)

    await console.put(cluster(workers=5))
    await console.ask("DELETE", "/api/v1/projects/default/clusters/demo")

    async with appliance.connected() as line:
        kinds = [(await line.take()).task.kind for _ in range(2)]
        await line.settle()
    assert kinds == ["cluster.apply", "cluster.delete"]
    assert (await show_command(console, UUID(first)))["state"] == "accepted"


async def test_commands_are_delivered_in_order_and_a_few_at_a_time(console: Console) -> None:
    appliance = await paired_appliance(console)
    wished = [(await console.put(cluster(f"c{number}"))).body["command"]["id"] for number in range(20)]

    async with appliance.connected() as line:
        first = [await line.hear(Deliver) for _ in range(16)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await line.channel.receive()
        for one in first:
            await line.say(Accepted(command_id=one.command_id))
        rest = [await line.hear(Deliver) for _ in range(4)]

    assert [str(one.command_id) for one in (*first, *rest)] == wished


async def test_events_sent_twice_are_kept_once(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        command = await line.take()
        report = ReportEvents(events=[line.event(command.id, CommandBegan(attempt=1)) for _ in range(3)])
        for _ in range(2):
            await line.say(report)
            assert (await line.hear(Acknowledge)).number == 3

    async with console.store() as store, store.reading(await console.scope()) as rows:
        assert [one.number for one in await events.after(rows, 0, watched=Watched(), limit=9)] == [1, 2, 3]


async def test_a_gap_in_the_events_ends_the_session_and_keeps_nothing_of_it(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        command = await line.take()
        await line.report(command.id, CommandBegan(attempt=1))
        appliance.last_event = 2
        await line.say(ReportEvents(events=[line.event(command.id, SUCCEEDED)]))
        assert await closed(line) == 1013
        appliance.last_event = 1

    async with appliance.connected() as line:
        assert line.welcome
        assert line.welcome.acknowledged == 1
    assert (await show(console))["phase"] == "provisioning"


async def test_a_refused_first_wish_disappears_and_its_command_tells_why(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        command = await line.take()
        refused = CommandEnded(outcome=CommandOutcome.REFUSED, problem=PROBLEM)
        await line.report(command.id, CommandBegan(attempt=1), refused)

    assert (await show(console))["code"] == "cluster.unknown"
    shown = await show_command(console, command.id)
    assert (shown["state"], shown["problem"]["code"]) == ("refused", "cloud.sign_in")


async def test_a_machine_whose_removal_was_never_reported_is_gone_when_the_wish_is_reached(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as line:
        await console.put(cluster(workers=2))
        first = await line.take()
        await line.report(first.id, *(machine(number, MachinePhase.PREPARED) for number in (0, 1)), SUCCEEDED)
        await console.put(cluster(workers=1))
        second = await line.take()
        await line.report(second.id, CommandBegan(attempt=2), SUCCEEDED)

    assert [one["name"] for one in (await show(console))["machines"]] == ["demo-workers-0"]


async def test_a_wish_that_failed_leaves_every_machine_in_sight(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as line:
        await console.put(cluster(workers=0))
        command = await line.take()
        failed = CommandEnded(outcome=CommandOutcome.FAILED, problem=PROBLEM)
        await line.report(command.id, machine(0, MachinePhase.CLONED), failed)

    assert [one["name"] for one in (await show(console))["machines"]] == ["demo-workers-0"]


async def test_a_rejected_command_ends_for_whoever_watches_it(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        delivered = await line.hear(Deliver)
        await line.say(Rejected(command_id=delivered.command_id, problem=PROBLEM))
        await line.say(Rejected(command_id=delivered.command_id, problem=PROBLEM))
        await line.settle()

    assert (await show_command(console, delivered.command_id))["state"] == "rejected"
    async with console.store() as store, store.reading(await console.scope()) as rows:
        watched = Watched(command=delivered.command_id)
        bodies = [one.body for one in await events.after(rows, 0, watched=watched, limit=9)]
    assert bodies == [CommandEnded(outcome=CommandOutcome.REFUSED, problem=PROBLEM)]


async def test_an_inventory_is_read_and_kept_with_its_command(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as line:
        asked = await console.ask("POST", "/api/v1/gateways/dc1/inventory", {"account": "main"})
        command = await line.take()
        assert command.task == ReadInventory(account="main")
        inventory = Inventory(product="VMware vCenter Server 8.0.2", networks=["VM Network"])
        ended = CommandEnded(outcome=CommandOutcome.SUCCEEDED, inventory=inventory)
        await line.report(command.id, CommandBegan(attempt=1), ended)

    assert asked.status == 202
    shown = await show_command(console, command.id)
    assert (shown["state"], shown["inventory"]["networks"], shown["project"]) == ("succeeded", ["VM Network"], None)


async def test_a_gateway_cannot_report_about_another_gateways_command(console: Console) -> None:
    await paired_appliance(console)
    other = await paired_appliance(console, "dc2")
    wished = (await console.put(cluster())).body["command"]["id"]
    bodies: list[EventBody] = [CommandBegan(attempt=1), SUCCEEDED]

    async with other.connected() as line:
        await line.say(Accepted(command_id=UUID(wished)))
        assert await line.report(UUID(wished), *bodies) == 2

    assert (await show(console))["phase"] == "pending"
    assert (await show_command(console, UUID(wished)))["state"] == "pending"


async def test_what_an_appliance_says_can_give_no_orders_to_a_terminal(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    evil = "\x1b[2J\x9b1m\x7f\x00"
    async with appliance.dialled() as channel:
        line = Line(appliance, channel)
        await line.say(Hello(protocol=1, software=f"9{evil}", boot_id=uuid4(), accounts=[f"main{evil}"], next_event=1))
        await line.hear(Welcome)
        command = await line.take()
        seen = machine(0, MachinePhase.CLONED)
        named = seen.machine.model_copy(update={"name": f"demo{evil}"})
        failed = PROBLEM.model_copy(update={"message": f"no{evil}\nway", "facts": {f"host{evil}": evil}})
        await line.report(
            command.id,
            StepBegan(step=f"a{evil}", title=evil),
            MachineSeen(machine=named),
            CommandEnded(outcome=CommandOutcome.FAILED, problem=failed),
        )

    async with console.store() as store, store.reading(await console.scope()) as rows:
        kept = [str(one.body) for one in await events.after(rows, 0, watched=Watched(), limit=9)]
    shown = [str((await console.ask("GET", "/api/v1/gateways/dc1")).body), str(await show(console)), *kept]
    assert len(kept) == 3
    for text in shown:
        # Python's own notation of a control character begins with a backslash.
        assert "\\" not in text, text
        assert text.isprintable(), text


async def test_a_second_session_replaces_the_first(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as first, appliance.connected() as second:
        assert await closed(first) == 4001
        await console.put(cluster())
        await second.take()


async def test_a_removed_gateway_is_cut_off_and_not_let_in_again(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as line:
        await console.ask("DELETE", "/api/v1/gateways/dc1")
        assert await closed(line) == 4000

    async with appliance.dialled() as channel:
        assert await closed(Line(appliance, channel)) == 4000


async def test_a_certificate_that_is_not_the_current_one_is_refused(console: Console) -> None:
    appliance = await paired_appliance(console)
    authority = Authority.open(console.settings.state / "authority", now=console.clock.now())
    key = keys.new_key()
    issued = authority.sign_gateway(certificate_request(key), appliance.paired.gateway_id, now=console.clock.now())
    directory = console.settings.state.parent
    (directory / "second.pem").write_text(issued.pem)
    keys.write(directory / "second.key", key)
    context = tls.client(authority.root, certificate=directory / "second.pem", key=directory / "second.key")

    second = Appliance(console, appliance.paired, context)
    async with second.dialled() as channel:
        assert await closed(Line(second, channel)) == 4000


async def test_an_appliance_put_back_to_an_older_state_is_refused_and_shown(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        command = await line.take()
        await line.report(command.id, CommandBegan(attempt=1), StepBegan(step="a", title="b"))
    appliance.last_event = 1

    async with appliance.dialled() as channel:
        line = Line(appliance, channel)
        await line.say(Hello(protocol=1, software="9.9", boot_id=uuid4(), next_event=2))
        assert await closed(line) == 4000

    shown = (await console.ask("GET", "/api/v1/gateways/dc1")).body
    assert shown["problem"]["code"] == "relay.rolled_back"


async def test_a_newer_appliance_is_spoken_to_in_the_consoles_version(console: Console) -> None:
    appliance = await paired_appliance(console)

    async with appliance.connected(protocol=99) as line:
        assert line.welcome
        assert line.welcome.protocol == PROTOCOL


@pytest.mark.parametrize("text", ["", "nonsense", '{"type": "accepted"}', '{"type": "welcome"}', "[" * 9000])
async def test_what_is_no_hello_ends_the_session(console: Console, text: str) -> None:
    appliance = await paired_appliance(console)

    async with appliance.dialled() as channel:
        await channel.send(text)
        assert await closed(Line(appliance, channel)) == 4002


async def test_nothing_is_lost_when_the_console_starts_again(tmp_path: Path) -> None:
    async with running_console(tmp_path / "console") as console:
        appliance = await paired_appliance(console)
        await console.put(cluster())
        async with appliance.connected() as line:
            command = await line.take()
            await line.report(command.id, CommandBegan(attempt=1))
            before = await show(console)

    async with running_console(tmp_path / "console") as again:
        assert await show(again) == before
