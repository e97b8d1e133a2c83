"""This file is what revocation and quarantine promise: whoever is shut out is out within five seconds, everywhere."""

import asyncio
import base64
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from gateway.console.relay import REFUSED
from gateway.contract.messages import Leaving
from gateway.identity import devicekeys, farewell
from gateway.tunnel.channel import ChannelClosedError
from tests.fakes.console import Appliance, Console, Line, cluster, paired_appliance
from tests.fakes.targets import data_of, reach, tunnel
from tests.unit.console.copies import IDENTITY, conditions, gateway, lost, recover
from tests.unit.console.reaching import cut, entries, reachable
from tests.unit.console.test_paired_anew import paired_anew
from tests.unit.console.test_relay import closed

WITHIN = 5.0


async def rule(console: Console, ruling: str, body: Any = None) -> dict[str, Any]:  # noqa: ANN401 - a request's body
    said = await console.ask("POST", f"/api/v1/gateways/dc1/{ruling}", body)
    assert said.status == 200, said
    shown: dict[str, Any] = said.body
    return shown


@pytest.mark.attack(5)
async def test_a_revoked_gateway_is_cut_everywhere_within_five_seconds_and_not_let_in_again(console: Console) -> None:
    appliance = await paired_appliance(console)
    data = await data_of(appliance)
    async with appliance.connected(protocol=IDENTITY, targets=("web",)) as line, data.open() as session:
        await reachable(console)
        async with tunnel(console) as user:
            stream, _ = await reach(user)
            shown = await rule(console, "revoke", {"reason": "stolen"})
            async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
                group.create_task(_refused(line))
                group.create_task(cut(stream))
                group.create_task(session.closed())
    async with appliance.dialled() as channel:
        assert await closed(Line(appliance, channel)) == REFUSED

    assert (shown["standing"], await conditions(console)) == ("revoked", ["revoked"])
    (audited,) = await entries(console, "?action=gateway.revoke")
    assert (audited["actor"], audited["facts"]["reason"]) == ("admin", "stolen")


async def _refused(line: Line) -> None:
    assert await closed(line) == REFUSED


@pytest.mark.attack(5)
async def test_a_revoked_gateway_does_not_come_back_by_recovery_or_release(console: Console) -> None:
    appliance = await paired_appliance(console)
    await rule(console, "revoke", {})

    recovered = await recover(console, lost(appliance))
    released = await console.ask("POST", "/api/v1/gateways/dc1/release")
    approved = await console.ask("POST", "/api/v1/gateways/dc1/approve-recovery")

    assert (recovered.status, recovered.body["code"]) == (403, "gateway.revoked")
    assert (released.status, released.body["code"]) == (409, "gateway.was_revoked")
    assert (approved.status, approved.body["code"]) == (409, "gateway.was_revoked")
    assert (await gateway(console))["standing"] == "revoked"


async def test_data_sessions_of_a_revoked_gateway_are_refused(console: Console) -> None:
    appliance = await paired_appliance(console)
    data = await data_of(appliance)
    await rule(console, "revoke", {})

    async with data.open() as session, asyncio.timeout(WITHIN):
        await session.closed()


async def test_what_waits_for_a_revoked_gateway_stays_remembered(console: Console) -> None:
    await paired_appliance(console)
    await rule(console, "revoke", {})

    wished = await console.put(cluster())

    assert (wished.status, wished.body["command"]["state"]) == (202, "pending")


async def test_rulings_are_for_who_may_see_the_gateway(console: Console) -> None:
    appliance = await paired_appliance(console)
    stranger = await console.add_tenant("other")

    for ruling in ("revoke", "release", "approve-recovery"):
        said = await console.ask("POST", f"/api/v1/gateways/dc1/{ruling}", {}, key=stranger)
        assert (said.status, said.body["code"]) == (404, "gateway.unknown")
    async with appliance.connected(protocol=IDENTITY) as line:
        await line.settle()


# -- the site ends the pairing


async def _says_last(appliance: Appliance, word: Leaving) -> ChannelClosedError:
    async with appliance.dialled() as channel:
        await channel.send(word.model_dump_json())
        with pytest.raises(ChannelClosedError) as ended:
            async with asyncio.timeout(WITHIN):
                await channel.receive()
    return ended.value


async def test_a_gateway_whose_device_key_says_that_the_site_has_ended_the_pairing_is_revoked(console: Console) -> None:
    appliance = await paired_appliance(console)

    ended = await _says_last(appliance, farewell.word(appliance.paired.gateway_id, appliance.device))

    assert "relay.left" in ended.message
    assert ((await gateway(console))["standing"], await conditions(console)) == ("revoked", ["revoked"])


@pytest.mark.attack(5)
async def test_a_stolen_certificate_alone_ends_no_pairing_and_the_attempt_is_told(console: Console) -> None:
    appliance = await paired_appliance(console)
    ours = appliance.paired.gateway_id
    words = [
        Leaving(),
        farewell.word(ours, devicekeys.new()),
        farewell.word(uuid4(), appliance.device),
        Leaving(signature=base64.b64encode(appliance.device.sign(ours.bytes)).decode()),
        Leaving(signature="AAA="),
        Leaving(signature="A"),
    ]

    async with appliance.connected(protocol=IDENTITY) as line:
        for word in words:
            ended = await _says_last(appliance, word)
            assert "relay.left" not in ended.message
            assert ended.facts["close_code"] == REFUSED
        await line.settle()

    assert ((await gateway(console))["standing"], await conditions(console)) == ("active", ["leaving-unproven"])
    assert len(await entries(console, "?action=gateway.leaving-unproven")) == 1


@pytest.mark.attack(5)
async def test_the_word_of_a_device_that_was_replaced_ends_no_pairing(console: Console) -> None:
    old = await paired_appliance(console)
    word = farewell.word(old.paired.gateway_id, old.device)
    new = await paired_anew(console)

    assert "relay.left" not in (await _says_last(replace(new, device=old.device), word)).message

    assert (await gateway(console))["standing"] == "active"


async def test_a_person_who_releases_the_gateway_has_seen_to_an_attempt_to_end_the_pairing(console: Console) -> None:
    appliance = await paired_appliance(console)
    await _says_last(appliance, Leaving())
    await rule(console, "release")
    assert await conditions(console) == []
