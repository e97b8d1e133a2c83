"""This file is what `pcg gateway policy` promises, against a whole console."""

import json
from pathlib import Path

import pytest

from gateway.contract.policy import PolicyProposed, PolicyStanding, PolicyTightened
from tests.fakes.console import paired_appliance
from tests.unit.cli.conftest import User

OBSERVES = PolicyStanding(sha256="a" * 64, profile="observe")


@pytest.fixture
def signed_in(user: User) -> User:
    user.is_signed_in()
    return user


def file(user: User, text: str) -> str:
    path: Path = user.directory / "policy.yaml"
    path.write_text(text)
    return str(path)


async def test_hash_and_profile_are_shown(signed_in: User) -> None:
    appliance = await paired_appliance(signed_in.console)
    before = await signed_in.pcg("gateway", "policy", "dc1")
    assert "it has not said by what policy" in before.out
    async with appliance.connected(protocol=3, policy=OBSERVES):
        shown = await signed_in.pcg("gateway", "policy", "dc1")
    assert f"profile observe, SHA-256 {'a' * 64}" in shown.out


async def test_a_policy_is_proposed_and_the_site_is_told_how_to_accept_it(signed_in: User) -> None:
    appliance = await paired_appliance(signed_in.console)
    async with appliance.connected(protocol=3, policy=OBSERVES) as line:
        said = await signed_in.pcg("gateway", "policy", "dc1", "--propose", file(signed_in, "profile: operate\n"))
        assert said.code == 0, said.err
        assert (await line.hear(PolicyProposed)).policy == "profile: operate\n"
    digest = json.loads((await signed_in.pcg("gateway", "policy", "dc1", "-o", "json")).out)["proposal"]["sha256"]
    assert f"pcg appliance policy accept {digest[:16]}" in said.out
    back = await signed_in.pcg("gateway", "policy", "dc1", "--take-back", "-o", "json")
    assert json.loads(back.out)["proposal"] is None


async def test_what_may_be_done_is_narrowed_and_that_is_ended(signed_in: User) -> None:
    appliance = await paired_appliance(signed_in.console)
    narrow = file(signed_in, "commands: {deny: [destroy]}\ndestroy: approval\n")
    async with appliance.connected(protocol=3, policy=OBSERVES) as line:
        said = await signed_in.pcg("gateway", "policy", "dc1", "--tighten", narrow)
        assert said.code == 0, said.err
        heard = (await line.hear(PolicyTightened)).tightening
        assert heard is not None
        assert (heard.commands.deny, heard.destroy) == (("destroy",), "approval")
    assert "Tightened by admin, not yet at the gateway" in said.out
    ended = await signed_in.pcg("gateway", "policy", "dc1", "--untighten", "-o", "json")
    assert json.loads(ended.out)["tightening"] is None


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("--propose", "profile: operte\n", "policy.yaml:1:10: profile"),
        ("--tighten", "profile: operate\n", "policy.yaml:1:1: profile: unknown key"),
        ("--tighten", "destroy: signature\n", "policy.yaml:1:10: destroy"),
    ],
)
async def test_a_mistake_in_the_file_is_told_with_its_place(
    signed_in: User, option: str, text: str, expected: str
) -> None:
    said = await signed_in.pcg("gateway", "policy", "dc1", option, file(signed_in, text))
    assert said.code == 2
    assert expected in said.err
