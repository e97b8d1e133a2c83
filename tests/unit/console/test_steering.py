"""This file is what people can do about commands that were asked for, and what happens to those a gateway puts off."""

from datetime import timedelta

from gateway.contract.commands import ApplyCluster, CancelCommand, PauseCommands, ResumeCommands
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome
from gateway.contract.messages import Accepted, Deferred, Deliver
from gateway.contract.problems import Problem
from gateway.kit.errors import Remedy
from tests.fakes.console import Console, Said, cluster, paired_appliance

LOW = Problem(code="inbox.disk_low", message="the disk is nearly full", remedy=Remedy.OPERATOR)


async def cancel(console: Console, command: object) -> Said:
    return await console.ask("POST", f"/api/v1/commands/{command}/cancel")


async def shown(console: Console) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = (await console.ask("GET", "/api/v1/gateways/dc1")).body
    return found


async def test_a_command_that_was_never_sent_is_cancelled_at_once_and_its_cluster_is_what_it_was(
    console: Console,
) -> None:
    await paired_appliance(console)
    command = (await console.put(cluster())).body["command"]["id"]
    said = await cancel(console, command)
    assert (said.status, said.body["id"], said.body["state"]) == (202, command, "cancelled")
    assert said.body["accepted_at"] is None
    assert (await console.ask("GET", "/api/v1/projects/default/clusters/demo")).status == 404
    again = await cancel(console, command)
    assert (again.status, again.body["code"]) == (409, "command.over")


async def test_a_command_that_may_have_arrived_is_cancelled_once_it_is_known_to_have(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        sent = await line.hear(Deliver)
        refused = await cancel(console, sent.command_id)
        assert (refused.status, refused.body["code"]) == (409, "command.on_its_way")
        await line.say(Accepted(command_id=sent.command_id))
        await line.settle()
        order = await cancel(console, sent.command_id)
        assert order.status == 202
        command = await line.take()
        assert command.task == CancelCommand(command_id=sent.command_id)
        await line.report(sent.command_id, CommandEnded(outcome=CommandOutcome.CANCELLED))
        await line.report(command.id, CommandEnded(outcome=CommandOutcome.SUCCEEDED))
        found = (await console.ask("GET", f"/api/v1/commands/{sent.command_id}")).body
    assert found["state"] == "cancelled"


async def test_a_gateway_is_paused_and_resumed(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as line:
        said = await console.ask("POST", "/api/v1/gateways/dc1/pause", {"on": "account/main"})
        assert (said.status, said.body["kind"]) == (202, "commands.pause")
        assert (await line.take()).task == PauseCommands(on="account/main")
        await console.ask("POST", "/api/v1/gateways/dc1/resume", {})
        assert (await line.take()).task == ResumeCommands()


async def test_a_deferred_command_is_sent_again_later_and_the_reason_is_shown_meanwhile(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        sent = await line.hear(Deliver)
        await line.say(Deferred(command_id=sent.command_id, problem=LOW))
        await line.settle()
        assert (await shown(console))["problem"]["code"] == "inbox.disk_low"
        console.clock.ahead = timedelta(seconds=31)
        await console.ask("POST", "/api/v1/gateways/dc1/resume", {})  # which rings the bell
        assert isinstance((await line.take()).task, ResumeCommands)
        command = await line.take()
        assert (command.id, type(command.task)) == (sent.command_id, ApplyCluster)
        await line.report(command.id, CommandBegan(attempt=1))
        assert (await shown(console))["problem"] is None
