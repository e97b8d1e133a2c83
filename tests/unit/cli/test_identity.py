"""This file is what `pcg gateway show`, `revoke`, `release` and `approve-recovery` promise, against a whole console."""

import json

from tests.fakes.console import paired_appliance
from tests.unit.cli.conftest import User
from tests.unit.console.copies import lost, recover


async def test_a_person_sees_who_a_gateway_is_and_what_to_do_about_it(user: User) -> None:
    user.is_signed_in()
    appliance = await paired_appliance(user.console)
    for _ in range(2):
        await recover(user.console, lost(appliance))

    shown = await user.pcg("gateway", "show", "dc1")
    document = json.loads((await user.pcg("gateway", "show", "dc1", "--output", "json")).out)
    listed = await user.pcg("gateway", "list")

    assert shown.code == 0
    for part in ("quarantined", "cloned", "pcg gateway release dc1", document["fingerprint"], "until"):
        assert part in shown.out, part
    assert len(document["fingerprint"].split("-")) == 6
    assert (document["standing"], document["conditions"][0]["type"]) == ("quarantined", "cloned")
    assert "quarantined" in listed.out


async def test_a_person_decides_and_is_asked_before(user: User) -> None:
    user.is_signed_in()
    appliance = await paired_appliance(user.console)
    for _ in range(2):
        await recover(user.console, lost(appliance))

    unasked = await user.pcg("gateway", "release", "dc1")
    released = await user.pcg("gateway", "release", "dc1", "--yes", "--output", "json")
    approved = await user.pcg("gateway", "approve-recovery", "dc1", "--output", "json")
    unsure = await user.pcg("gateway", "revoke", "dc1")
    revoked = await user.pcg("gateway", "revoke", "dc1", "--reason", "stolen", "--yes")
    late = await user.pcg("gateway", "release", "dc1", "--yes")

    assert unasked.code != 0
    assert [json.loads(one.out)["standing"] for one in (released, approved)] == ["active", "active"]
    assert json.loads(released.out)["conditions"] == []
    assert unsure.code != 0
    assert "revoked: stolen" in revoked.out
    assert late.code != 0
    assert "repair-token" in late.err
