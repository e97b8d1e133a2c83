"""This file is what recovery promises, over real HTTPS: whoever holds what was left comes back, a copy does not."""

import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from pydantic import SecretStr

from gateway.console.admission import Entrance
from gateway.console.relay import OVER
from gateway.contract.identity import Granted, RecoveryChallenge, RecoveryResult
from gateway.identity import devicekeys, keys, recovery
from gateway.identity.authority import certificate_request
from tests.fakes.console import Appliance, Console, Line, Said, SetClock, paired_appliance, running_console
from tests.unit.console.copies import (
    IDENTITY,
    asked_to_recover,
    conditions,
    gateway,
    holding,
    join_of,
    lost,
    recover,
    renewed,
    seen,
)
from tests.unit.console.test_relay import closed
from tests.unit.console.test_revocation import rule

PEM_END = "-----END CERTIFICATE-----\n"


def granted(said: Said) -> Granted:
    assert said.status == 200, said
    return RecoveryResult.model_validate(said.body).granted


async def came_back(appliance: Appliance) -> Appliance:
    """Let an appliance recover, and return it with what it was given."""
    key = keys.new_key()
    have = lost(appliance, request=certificate_request(key))
    return holding(appliance, granted(await recover(appliance.console, have)), key)


@pytest.mark.attack(8)
async def test_an_appliance_whose_certificate_has_expired_comes_back_by_itself(console: Console) -> None:
    appliance = await paired_appliance(console)
    console.clock.ahead += timedelta(days=400)
    async with appliance.dialled() as channel:
        assert await closed(Line(appliance, channel)) == OVER

    back = await came_back(appliance)

    # The machine's own clock is the one that TLS looks at: what is judged behind it is asked.
    certificate = ssl.PEM_cert_to_DER_cert(back.paired.certificate.partition("-----END CERTIFICATE-----")[0] + PEM_END)
    async with console.store() as store:
        entrance = Entrance(store, lambda _: True, console.clock)
        admitted = await entrance.admit(certificate, address="192.0.2.1")
    assert admitted.until > console.clock.now() + timedelta(days=6)
    assert await conditions(console) == []


@pytest.mark.attack(8)
async def test_the_console_tells_its_time_before_anything_is_asked_to_be_believed_by_it(console: Console) -> None:
    appliance = await paired_appliance(console)
    console.clock.ahead += timedelta(days=3650)

    said, _ = await asked_to_recover(console, appliance.paired.gateway_id)

    told = RecoveryChallenge.model_validate(said.body).server_time
    assert abs(told - console.clock.now()) < timedelta(minutes=1)


async def test_who_lost_the_answer_asks_again_and_gets_the_same(console: Console) -> None:
    appliance = await paired_appliance(console)
    have = lost(appliance)

    first, second = granted(await recover(console, have)), granted(await recover(console, have))

    assert first == second


async def test_an_answer_that_was_lost_long_ago_is_given_again_with_a_fresh_certificate(console: Console) -> None:
    appliance = await paired_appliance(console)
    have = lost(appliance)
    first = granted(await recover(console, have))
    console.clock.ahead += timedelta(days=30)

    second = granted(await recover(console, have))

    assert second.join == first.join
    assert second.certificate != first.certificate


@pytest.mark.attack(8)
async def test_an_answer_from_while_the_clock_was_ahead_is_given_again_with_a_certificate_that_has_begun(
    tmp_path: Path,
) -> None:
    async with running_console(tmp_path / "console", SetClock()) as console:
        appliance = await paired_appliance(console)
        have = lost(appliance)
        console.clock.ahead = timedelta(days=10)
        first = granted(await recover(console, have))
        console.clock.ahead = timedelta()

        second = granted(await recover(console, have))

        assert second.join == first.join
        begins = x509.load_pem_x509_certificate(second.certificate.encode()).not_valid_before_utc
        assert begins < console.clock.now()


@pytest.mark.attack(7)
async def test_a_copy_that_recovers_after_the_other_is_found_out_and_both_are_shut_out(console: Console) -> None:
    appliance = await paired_appliance(console)
    back = await came_back(appliance)
    async with back.connected(protocol=IDENTITY) as line:
        refused = await recover(console, lost(appliance))
        assert (refused.status, refused.body["code"]) == (403, "gateway.cloned")
        assert await closed(line) == 4000

    again = await recover(console, lost(back))

    assert (again.status, again.body["code"]) == (403, "gateway.quarantined")
    assert await conditions(console) == ["cloned"]


@pytest.mark.attack(7)
async def test_a_disk_from_many_renewals_ago_is_found_out(console: Console) -> None:
    appliance = await paired_appliance(console)
    old = appliance
    for _ in range(3):
        key = keys.new_key()
        async with appliance.connected(protocol=IDENTITY) as line:
            appliance = holding(appliance, await renewed(line, join_of(appliance), key), key)

    refused = await recover(console, lost(old))

    assert (refused.status, refused.body["code"]) == (403, "gateway.cloned")
    assert (await gateway(console))["standing"] == "quarantined"


async def test_one_who_holds_the_device_key_alone_gets_nothing_and_is_told_of(console: Console) -> None:
    appliance = await paired_appliance(console)
    guessed = join_of(appliance).model_copy(update={"ticket": SecretStr("0" * 64)})
    async with appliance.connected(protocol=IDENTITY) as line:
        refused = await recover(console, lost(appliance, join=guessed))
        await line.settle()

    assert (refused.status, refused.body["code"]) == (403, "gateway.join_refused")
    assert await conditions(console) == ["join-proof-wrong"]


async def test_one_without_the_device_key_changes_nothing(console: Console) -> None:
    appliance = await paired_appliance(console)

    refused = await recover(console, lost(appliance, device=devicekeys.new()))

    assert (refused.status, refused.body["code"]) == (403, "recovery.proof_wrong")
    assert await conditions(console) == []


async def test_a_proof_for_another_server_is_refused(console: Console) -> None:
    appliance = await paired_appliance(console)
    said, nonce = await asked_to_recover(console, appliance.paired.gateway_id)
    challenge = RecoveryChallenge.model_validate(said.body)
    between = replace(seen(console), key="f" * 64)

    finish = recovery.prove(lost(appliance), challenge, nonce=nonce, seen=between)
    refused = await console.ask("POST", "/api/v1/recovery/finish", finish.model_dump(mode="json"), key="")

    assert (refused.status, refused.body["code"]) == (403, "recovery.proof_wrong")


async def test_a_challenge_is_for_one_gateway_and_two_minutes(console: Console) -> None:
    appliance = await paired_appliance(console)
    stale = await recover(console, lost(appliance), challenge="1.2.3")
    said, nonce = await asked_to_recover(console, appliance.paired.gateway_id)
    challenge = RecoveryChallenge.model_validate(said.body)
    console.clock.ahead += timedelta(minutes=3)

    finish = recovery.prove(lost(appliance), challenge, nonce=nonce, seen=seen(console))
    late = await console.ask("POST", "/api/v1/recovery/finish", finish.model_dump(mode="json"), key="")

    for refused in (stale, late):
        assert (refused.status, refused.body["code"]) == (409, "identity.challenge_stale")


async def test_a_gateway_that_is_not_there_does_not_recover(console: Console) -> None:
    said, _ = await asked_to_recover(console, uuid4())

    assert (said.status, said.body["code"]) == (404, "gateway.unknown")


async def test_the_budget_is_spent_then_a_person_approves(console: Console) -> None:
    appliance = await paired_appliance(console)
    for _ in range(10):
        appliance = await came_back(appliance)
        console.clock.ahead += timedelta(hours=1)

    refused = await recover(console, lost(appliance))
    assert (refused.status, refused.body["code"]) == (403, "recovery.needs_approval")
    assert await conditions(console) == ["recovery-needs-approval"]

    await rule(console, "approve-recovery")
    appliance = await came_back(appliance)

    assert await conditions(console) == []
    assert join_of(appliance).number == 12


async def test_recoveries_from_long_ago_do_not_count(console: Console) -> None:
    appliance = await paired_appliance(console)
    for _ in range(12):
        appliance = await came_back(appliance)
        console.clock.ahead += timedelta(days=3, hours=1)

    assert await conditions(console) == []


async def test_asking_too_often_is_refused(console: Console) -> None:
    appliance = await paired_appliance(console)

    said = [(await asked_to_recover(console, appliance.paired.gateway_id))[0].status for _ in range(11)]

    assert said == [*[200] * 10, 429]


async def test_a_recovery_survives_a_console_that_is_started_again(tmp_path: Path) -> None:
    async with running_console(tmp_path / "console") as before:
        appliance = await paired_appliance(before)
        have = lost(appliance)
        first = granted(await recover(before, have))
    async with running_console(tmp_path / "console") as after:
        assert granted(await recover(after, have)) == first
