"""This file is what is promised when an appliance is copied, put back or moved: it is found out, and harms nothing."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from gateway.console.relay import BROKEN, FIGHT, REFUSED, REPLACED
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome
from gateway.contract.identity import LATEST_JOIN, Hardware, RenewalRefused
from gateway.contract.messages import LATEST_EPOCH, Deliver, Hello
from gateway.identity import devicekeys, keys
from gateway.identity.authority import certificate_request
from tests.fakes.console import Console, Line, cluster, paired_appliance
from tests.fakes.targets import data_of, reach, tunnel
from tests.unit.console.copies import IDENTITY, conditions, copied, gateway, join_of, lost, recover, renewal, renewed
from tests.unit.console.reaching import cut, entries, reachable
from tests.unit.console.test_console_recovery import came_back
from tests.unit.console.test_relay import closed, show, show_command
from tests.unit.console.test_revocation import rule

ONE, OTHER = Hardware(system_uuid=UUID(int=1)), Hardware(system_uuid=UUID(int=2))


@pytest.mark.attack(7)
async def test_a_running_copy_is_found_out_and_both_are_cut(console: Console) -> None:
    appliance = await paired_appliance(console)
    data = await data_of(appliance)
    async with appliance.connected(protocol=IDENTITY, targets=("web",)) as original, data.open():
        await reachable(console)
        async with tunnel(console) as user, asyncio.TaskGroup() as group:
            stream, _ = await reach(user)
            code = group.create_task(closed(original))
            group.create_task(cut(stream, within=10))
            async with copied(appliance).dialled() as channel:
                copy = Line(copied(appliance), channel)
                await copy.say(Hello(protocol=3, software="9.9", boot_id=uuid4(), next_event=1))
                assert await closed(copy) == REFUSED
        assert code.result() == REFUSED

    shown = await gateway(console)
    assert (shown["standing"], [one["type"] for one in shown["conditions"]]) == ("quarantined", ["cloned"])
    assert "pcg gateway release dc1" in shown["conditions"][0]["remedy"]
    assert [one["actor"] for one in await entries(console, "?action=gateway.cloned")] == ["the console"]


async def test_an_appliance_that_was_started_again_is_no_copy(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as old:
        # As after a power cut: the connection is there, and nobody answers on it.
        old.channel._connection.transport.pause_reading()
        async with copied(appliance).connected(protocol=IDENTITY) as line:
            await line.settle()

    assert (await gateway(console))["standing"] == "active"
    assert await conditions(console) == []


async def test_the_same_boot_may_connect_before_it_lets_go(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as old, appliance.connected(protocol=IDENTITY) as new:
        assert await closed(old) == REPLACED
        await new.settle()

    assert await conditions(console) == []


@pytest.mark.attack(7)
async def test_a_copy_with_its_memory_that_takes_turns_with_the_original_is_found_out(console: Console) -> None:
    """It has the same boot as well: nothing tells the two apart but that both are there."""
    appliance = await paired_appliance(console)
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(appliance.connected(protocol=IDENTITY)) for _ in range(3)]
        channel = await stack.enter_async_context(appliance.dialled())
        async with asyncio.TaskGroup() as group:
            codes = [group.create_task(closed(line)) for line in lines]
            last = Line(appliance, channel)
            await last.say(Hello(protocol=3, software="9.9", boot_id=appliance.boot_id, next_event=1))
            assert await closed(last) == REFUSED
        assert [one.result() for one in codes] == [REPLACED, REPLACED, REFUSED]

    assert (await gateway(console))["standing"] == "quarantined"
    assert await conditions(console) == ["cloned"]


async def test_one_that_calls_again_and_again_because_its_connections_die_is_no_copy(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with AsyncExitStack() as stack:
        for _ in range(4):
            line = await stack.enter_async_context(appliance.connected(protocol=IDENTITY))
            line.channel._connection.transport.pause_reading()

    assert await conditions(console) == []


async def test_one_that_turns_over_now_and_then_is_no_copy(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            line = await stack.enter_async_context(appliance.connected(protocol=IDENTITY))
            console.clock.ahead += timedelta(seconds=FIGHT / 2 + 1)
        await line.settle()

    assert await conditions(console) == []


@pytest.mark.attack(7)
async def test_a_quarantine_ends_when_a_person_says_that_one_is_left(console: Console) -> None:
    appliance = await paired_appliance(console)
    for status in (200, 403):
        assert (await recover(console, lost(appliance))).status == status
    assert (await gateway(console))["standing"] == "quarantined"

    shown = await rule(console, "release")
    async with appliance.connected(protocol=IDENTITY) as line:
        await line.settle()
    # Its join state was used by the other; it is taken at the person's word, once, with the device key.
    back = await came_back(appliance)
    async with back.connected(protocol=IDENTITY) as line:
        await renewed(line, join_of(back), keys.new_key())

    assert (shown["standing"], shown["conditions"]) == ("active", [])
    assert [one["facts"]["before"] for one in await entries(console, "?action=gateway.release")] == ["quarantined"]


@pytest.mark.attack(6)
async def test_what_a_person_says_for_the_right_one_does_nothing_for_a_thief_of_its_tls_key(console: Console) -> None:
    appliance = await paired_appliance(console)
    thief = replace(copied(appliance), device=devicekeys.new())
    guessed = join_of(appliance).model_copy(update={"ticket": SecretStr("0" * 64)})
    for status in (200, 403):
        assert (await recover(console, lost(appliance))).status == status
    await rule(console, "release")

    async with thief.connected(protocol=IDENTITY) as line:
        await line.say(renewal(guessed, certificate_request(keys.new_key())))
        assert (await line.hear(RenewalRefused)).problem.code == "gateway.join_refused"
    async with appliance.connected(protocol=IDENTITY) as line:
        # The right one may ask the same way first: nobody is shut out for it, and its next certificate is for later.
        await line.say(renewal(join_of(appliance), certificate_request(keys.new_key())))
        assert (await line.hear(RenewalRefused)).problem.code == "gateway.join_refused"
    assert (await recover(console, lost(thief))).body["code"] == "recovery.proof_wrong"

    assert join_of(await came_back(appliance)).number == 3
    assert (await gateway(console))["standing"] == "active"
    assert await conditions(console) == []


@pytest.mark.attack(7)
async def test_an_older_state_goes_on_in_a_new_epoch_and_nothing_runs_twice(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as line:
        await console.put(cluster())
        command = await line.take()
        number = await line.report(command.id, CommandBegan(attempt=1))
    appliance.last_event = 0

    async with appliance.connected(protocol=IDENTITY) as line:
        assert line.welcome is not None
        assert (line.welcome.epoch, line.welcome.acknowledged) == (2, number)
        appliance.last_event = number
        await line.settle()

    shown = await show_command(console, command.id)
    assert (shown["state"], shown["problem"]["code"]) == ("unknown", "command.gateway_put_back")
    assert (await show(console))["phase"] == "failed"
    about = await gateway(console)
    assert (about["standing"], about["epoch"]) == ("active", 2)
    assert [one["type"] for one in about["conditions"]] == ["rolled-back"]


@pytest.mark.attack(7)
async def test_a_command_that_is_over_is_dropped_by_who_was_put_back_to_before_its_end(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as line:
        await console.put(cluster())
        command = await line.take()
        await line.report(command.id, CommandBegan(attempt=1), CommandEnded(outcome=CommandOutcome.SUCCEEDED))
    appliance.last_event = 1

    async with appliance.connected(protocol=IDENTITY, open_commands=[command.id, uuid4()]) as line:
        assert line.welcome is not None
        assert line.welcome.ended_commands == [command.id]

    assert (await show_command(console, command.id))["state"] == "succeeded"


async def test_a_command_that_the_older_state_still_has_goes_on(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as line:
        await console.put(cluster())
        command = await line.take()
        await line.report(command.id, CommandBegan(attempt=1))
    appliance.last_event = 0

    async with appliance.connected(protocol=IDENTITY, open_commands=[command.id]) as line:
        assert line.welcome is not None
        assert line.welcome.ended_commands == []

    assert (await show_command(console, command.id))["state"] == "running"


async def test_a_welcome_that_was_lost_begins_no_second_epoch(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as line:
        await line.settle()
    epochs = []
    for _ in range(2):
        appliance.last_event = 0
        async with appliance.connected(protocol=IDENTITY) as line:
            assert line.welcome is not None
            epochs.append(line.welcome.epoch)
    appliance.last_event = 1
    async with appliance.connected(protocol=IDENTITY, epoch=2) as line:
        assert line.welcome is not None
        epochs.append(line.welcome.epoch)

    assert epochs == [2, 2, 2]


@pytest.mark.attack(19)
@pytest.mark.attack(32)
@pytest.mark.parametrize("said", [{"epoch": 2**63 - 1}, {"trust_version": 2**70}, {"next_event": 2**63}])
async def test_a_number_that_nobody_can_have_come_to_is_not_taken_in(console: Console, said: dict[str, int]) -> None:
    appliance = await paired_appliance(console)
    hello = Hello(protocol=3, software="9.9", boot_id=appliance.boot_id, next_event=1).model_copy(update=said)
    async with appliance.dialled() as channel:
        await channel.send(hello.model_dump_json())
        assert await closed(Line(appliance, channel)) == BROKEN
    async with appliance.connected(protocol=IDENTITY) as line:
        await line.settle()


@pytest.mark.attack(32)
async def test_the_last_epoch_that_can_be_said_keeps_nobody_out(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as line:
        await line.settle()
    epoch = LATEST_EPOCH
    for _ in range(2):
        appliance.last_event = 0
        async with appliance.connected(protocol=IDENTITY, epoch=epoch) as line:
            assert line.welcome is not None
            assert line.welcome.epoch == epoch
    async with appliance.connected(protocol=IDENTITY, epoch=1) as line:
        assert line.welcome is not None
        assert line.welcome.epoch == epoch


@pytest.mark.attack(32)
async def test_the_number_of_a_join_state_is_the_consoles_whatever_is_claimed(console: Console) -> None:
    appliance = await paired_appliance(console)
    claimed = join_of(appliance).model_copy(update={"number": LATEST_JOIN})
    assert (await recover(console, lost(appliance, join=claimed))).body["code"] == "gateway.join_refused"
    await rule(console, "release")

    said = await recover(console, lost(appliance, join=claimed))

    assert (said.status, said.body["granted"]["join"]["number"]) == (200, 2)
    beyond = await recover(console, lost(appliance), join_number=LATEST_JOIN + 1)
    assert (beyond.status, beyond.body["code"]) == (422, "request.invalid")


@pytest.mark.attack(7)
async def test_another_machine_gets_no_commands_and_no_streams_until_a_person_has_looked(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY, hardware=ONE):
        pass
    moved = replace(appliance, boot_id=uuid4())
    data = await data_of(moved)
    async with moved.connected(protocol=IDENTITY, hardware=OTHER, targets=("web",)) as line, data.open():
        wished = (await console.put(cluster())).body["command"]["id"]
        await line.settle()
        async with tunnel(console) as user:
            _, reply = await reach(user)
        paused = await gateway(console)
        await rule(console, "release")
        delivered = await line.hear(Deliver)

    assert (reply.status, reply.code) == ("refused", "gateway.not_active")
    assert (paused["standing"], [one["type"] for one in paused["conditions"]]) == ("paused", ["hardware-changed"])
    assert str(UUID(int=2)) in paused["conditions"][0]["message"]
    assert str(delivered.command_id) == wished
    async with moved.connected(protocol=IDENTITY, hardware=OTHER):
        assert (await gateway(console))["standing"] == "active"
    async with moved.connected(protocol=IDENTITY, hardware=ONE):
        assert (await gateway(console))["standing"] == "paused"


async def test_streams_of_a_machine_that_changes_are_cut(console: Console) -> None:
    appliance = await paired_appliance(console)
    data = await data_of(appliance)
    async with appliance.connected(protocol=IDENTITY, targets=("web",), hardware=ONE), data.open():
        await reachable(console)
        async with tunnel(console) as user:
            stream, _ = await reach(user)
            async with appliance.connected(protocol=IDENTITY, targets=("web",), hardware=OTHER):
                await cut(stream)


async def test_a_machine_that_cannot_say_what_it_is_is_not_held_back(console: Console) -> None:
    appliance = await paired_appliance(console)
    for said in (ONE, Hardware(), ONE):
        async with appliance.connected(protocol=IDENTITY, hardware=said):
            pass

    assert (await gateway(console))["standing"] == "active"
