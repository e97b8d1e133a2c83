"""This file is what a person's six words do for a gateway that was paired with --confirm, and what they do not."""

from uuid import UUID

import pytest

from gateway.console import alarms
from gateway.console.conditions import hardware_changed
from gateway.console.records import Standing
from gateway.console.store import gateways, standing
from gateway.contract.pairing import PairingResult
from gateway.identity import keys, tls
from gateway.identity import tokens as texts
from gateway.identity.pairing import Candidate
from tests.fakes.console import Appliance, Console, candidate, cluster, finish
from tests.unit.console.test_enrolling import audited, conditions, fingerprint


async def confirmable(console: Console) -> Candidate:
    said = await console.ask("POST", "/api/v1/registration-tokens", {"gateway": "dc1", "confirm": True})
    applicant = candidate()[0]
    result = PairingResult.model_validate((await finish(console, texts.parse(said.body["token"]), applicant)).body)
    assert result.confirm
    return applicant


async def standing_of(console: Console, name: str = "dc1") -> Standing:
    async with console.store() as store, store.reading(await console.scope()) as rows:
        return (await gateways.named(rows, name)).standing


async def test_a_gateway_that_is_to_be_confirmed_waits_for_its_words(console: Console) -> None:
    applicant = await confirmable(console)
    assert await standing_of(console) is Standing.UNCONFIRMED
    assert list(await conditions(console)) == ["awaiting-confirmation"]
    typed = fingerprint(applicant).upper().replace("-", " ")
    said = await console.ask("POST", "/api/v1/gateways/dc1/confirm", {"words": typed})
    assert (said.status, said.body["fingerprint"]) == (200, fingerprint(applicant))
    assert await standing_of(console) is Standing.ACTIVE
    assert await conditions(console) == {}


async def test_words_that_differ_confirm_nothing_and_leave_an_alert(console: Console) -> None:
    await confirmable(console)
    said = await console.ask("POST", "/api/v1/gateways/dc1/confirm", {"words": fingerprint(candidate()[0])})
    assert (said.status, said.body["code"]) == (409, "gateway.words_differ")
    assert await standing_of(console) is Standing.UNCONFIRMED
    assert set(await conditions(console)) == {"awaiting-confirmation", "fingerprint-differs"}
    assert [one["outcome"] for one in await audited(console, "gateway.confirm")] == ["refused"]


async def test_to_confirm_lifts_no_quarantine(console: Console) -> None:
    applicant = await confirmable(console)
    async with console.store() as store, store.writing(await console.scope()) as rows:
        await standing.set_standing(rows, (await gateways.named(rows, "dc1")).id, Standing.QUARANTINED)
    said = await console.ask("POST", "/api/v1/gateways/dc1/confirm", {"words": fingerprint(applicant)})
    assert (said.status, said.body["code"]) == (409, "gateway.nothing_to_confirm")
    assert await standing_of(console) is Standing.QUARANTINED


@pytest.mark.attack(7)
async def test_the_right_words_do_not_wake_a_gateway_that_runs_on_another_machine(console: Console) -> None:
    applicant = await confirmable(console)
    async with console.store() as store, store.writing(await console.scope()) as rows:
        known = await gateways.named(rows, "dc1")
        moved = hardware_changed(known.name, UUID(int=1), UUID(int=2), now=console.clock.now())
        await alarms.pause(rows, known, moved, now=console.clock.now())

    said = await console.ask("POST", "/api/v1/gateways/dc1/confirm", {"words": fingerprint(applicant)})

    assert (said.status, said.body["standing"]) == (200, "paused")
    assert list(await conditions(console)) == ["hardware-changed"]
    released = await console.ask("POST", "/api/v1/gateways/dc1/release")
    assert (released.body["standing"], released.body["conditions"]) == ("active", [])


async def test_a_gateway_that_is_to_be_confirmed_connects_and_gets_its_commands_only_then(console: Console) -> None:
    said = await console.ask("POST", "/api/v1/registration-tokens", {"gateway": "dc1", "confirm": True})
    applicant, key = candidate()
    result = PairingResult.model_validate((await finish(console, texts.parse(said.body["token"]), applicant)).body)
    certificate, private = (console.settings.state.parent / f"dc1.{kind}" for kind in ("pem", "key"))
    certificate.write_text(result.certificate)
    keys.write(private, key)
    context = tls.client("".join(result.bundle.roots), certificate=certificate, key=private)
    appliance = Appliance(console, result, context, device=applicant.device)
    await console.put(cluster())
    async with appliance.connected(protocol=3) as line:
        await line.settle()  # whatever had been delivered would have come first
        await line.settle()
        words_read = {"words": fingerprint(applicant)}
        assert (await console.ask("POST", "/api/v1/gateways/dc1/confirm", words_read)).status == 200
        assert (await line.take()).task.kind == "cluster.apply"
