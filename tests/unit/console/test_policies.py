"""This file is the promises of policies at the console: it sees a hash, proposes, tightens, hears what became of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.contract.messages import Offers
from gateway.contract.policy import (
    CommandBounds,
    PolicyProposed,
    PolicyStanding,
    PolicyTightened,
    Tightening,
    policy_digest,
    tightening_digest,
)
from tests.fakes.console import Appliance, Console, Line, paired_appliance, running_console

PROPOSED = "profile: operate\n"
NARROW = Tightening(commands=CommandBounds(deny=("destroy",)))
HERE = "/api/v1/gateways/dc1/policy"
OBSERVES = PolicyStanding(sha256="a" * 64, profile="observe")


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


@pytest.fixture
async def appliance(console: Console) -> Appliance:
    return await paired_appliance(console)


async def says(line: Line, standing: PolicyStanding) -> None:
    await line.say(Offers(accounts=[], targets=[], policy=standing))
    await line.settle()


async def test_the_console_shows_hash_and_profile_as_the_gateway_says_them(
    console: Console, appliance: Appliance
) -> None:
    before = await console.ask("GET", HERE)
    assert (before.body["sha256"], before.body["profile"]) == (None, None)
    async with appliance.connected(protocol=3, policy=OBSERVES) as line:
        shown = (await console.ask("GET", HERE)).body
        assert (shown["sha256"], shown["profile"], shown["paused"]) == ("a" * 64, "observe", False)
        await says(line, OBSERVES.model_copy(update={"paused": True}))
        assert (await console.ask("GET", HERE)).body["paused"]


async def test_a_proposal_reaches_the_gateway_and_is_over_once_it_is_the_policy(
    console: Console, appliance: Appliance
) -> None:
    async with appliance.connected(protocol=3, policy=OBSERVES) as line:
        said = await console.ask("PUT", HERE + "/proposal", {"policy": PROPOSED})
        assert said.status == 200
        assert not said.body["proposal"]["delivered"]
        heard = await line.hear(PolicyProposed)
        assert (heard.policy, heard.author) == (PROPOSED, "admin")
        digest = policy_digest(PROPOSED)
        await says(line, OBSERVES.model_copy(update={"proposal": digest}))
        assert (await console.ask("GET", HERE)).body["proposal"]["delivered"]
        await says(line, PolicyStanding(sha256=digest, profile="operate"))
        assert (await console.ask("GET", HERE)).body["proposal"] is None


async def test_a_proposal_is_taken_back(console: Console, appliance: Appliance) -> None:
    await console.ask("PUT", HERE + "/proposal", {"policy": PROPOSED})
    standing = OBSERVES.model_copy(update={"proposal": policy_digest(PROPOSED)})
    async with appliance.connected(protocol=3, policy=standing) as line:
        await console.ask("DELETE", HERE + "/proposal")
        assert (await line.hear(PolicyProposed)).policy is None


async def test_what_is_no_policy_is_not_proposed(console: Console, appliance: Appliance) -> None:
    said = await console.ask("PUT", HERE + "/proposal", {"policy": "profile: operte\n"})
    assert said.status == 422
    assert said.body["code"] == "policy.proposal_invalid"
    assert "policy:1:10: profile" in said.body["message"]


async def test_a_tightening_is_told_at_each_connection_until_the_gateway_says_that_it_holds(
    console: Console, appliance: Appliance
) -> None:
    said = await console.ask("PUT", HERE + "/tightening", NARROW.model_dump(mode="json"))
    assert said.status == 200
    for _ in range(2):
        async with appliance.connected(protocol=3, policy=OBSERVES) as line:
            assert (await line.hear(PolicyTightened)).tightening == NARROW
    held = OBSERVES.model_copy(update={"tightening": tightening_digest(NARROW)})
    async with appliance.connected(protocol=3, policy=held) as line:
        assert (await console.ask("GET", HERE)).body["tightening"]["in_force"]
        await console.ask("DELETE", HERE + "/tightening")
        assert (await line.hear(PolicyTightened)).tightening is None


async def test_a_gateway_that_knows_no_policies_is_told_of_none(console: Console, appliance: Appliance) -> None:
    await console.ask("PUT", HERE + "/tightening", NARROW.model_dump(mode="json"))
    async with appliance.connected(protocol=3) as line:
        await line.settle()  # the next message is the acknowledgement, and nothing else came before


async def test_who_proposes_and_tightens_is_in_the_audit_log(console: Console, appliance: Appliance) -> None:
    await console.ask("PUT", HERE + "/proposal", {"policy": PROPOSED})
    await console.ask("PUT", HERE + "/tightening", NARROW.model_dump(mode="json"))
    entries = (await console.ask("GET", "/api/v1/audit")).body["items"]
    assert [one["action"] for one in entries[:2]] == ["policy.tighten", "policy.propose"]
    assert entries[1]["facts"]["sha256"] == policy_digest(PROPOSED)


async def test_a_removed_gateways_policy_is_forgotten(console: Console, appliance: Appliance) -> None:
    await console.ask("PUT", HERE + "/proposal", {"policy": PROPOSED})
    assert (await console.ask("DELETE", "/api/v1/gateways/dc1")).status == 200
    assert (await console.ask("GET", HERE)).status == 404
