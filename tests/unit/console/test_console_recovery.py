"""This file is what recovery promises, over real HTTPS: whoever holds what was left comes back, a copy does not."""

import ssl
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from pydantic import SecretStr

from gateway.console.admission import Entrance
from gateway.console.relay import OVER
from gateway.console.store import standing
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
    (denied,) = (await console.ask("GET", "/api/v1/audit?action=gateway.recover")).body["items"]
    assert (denied["outcome"], denied["gateway"], denied["facts"]["code"]) == (
        "refused",
        "dc1",
        "recovery.needs_approval",
    )

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


async def test_a_gateway_that_comes_back_too_often_within_a_minute_is_refused(console: Console) -> None:
    have = lost(await paired_appliance(console))
    # Each conversation is two questions, and an address may ask thirty.
    answers = [await recover(console, have) for _ in range(11)]

    assert [one.status for one in answers] == [*[200] * 10, 429]


@pytest.mark.attack(8)
async def test_whoever_knows_the_id_alone_cannot_keep_a_gateway_from_coming_back(console: Console) -> None:
    appliance = await paired_appliance(console)
    stranger = lost(appliance, device=devicekeys.new())
    for _ in range(12):
        assert (await recover(console, stranger)).body["code"] == "recovery.proof_wrong"

    assert (await recover(console, lost(appliance))).status == 200


@pytest.mark.attack(2)
async def test_a_last_word_that_was_listened_to_is_answered_once(console: Console) -> None:
    """Neither does who has heard it get the ticket, nor can he make the gateway look like two."""
    appliance = await paired_appliance(console)
    said, nonce = await asked_to_recover(console, appliance.paired.gateway_id)
    challenge, key = RecoveryChallenge.model_validate(said.body), keys.new_key()
    have = lost(appliance, request=certificate_request(key))
    finish = recovery.prove(have, challenge, nonce=nonce, seen=seen(console)).model_dump(mode="json")

    first = await console.ask("POST", "/api/v1/recovery/finish", finish, key="")
    second = await console.ask("POST", "/api/v1/recovery/finish", finish, key="")
    back = holding(appliance, granted(first), key)
    async with back.connected(protocol=IDENTITY) as line:
        await renewed(line, join_of(back), keys.new_key())
    third = await console.ask("POST", "/api/v1/recovery/finish", finish, key="")

    assert [(one.status, one.body["code"]) for one in (second, third)] == [(409, "identity.challenge_stale")] * 2
    assert await conditions(console) == []


@pytest.mark.attack(8)
async def test_recoveries_that_a_clock_ahead_has_dated_do_not_count_and_an_approval_ends_them(tmp_path: Path) -> None:
    async with running_console(tmp_path / "console", SetClock()) as console:
        appliance = await paired_appliance(console)
        await dated(console, appliance, at=console.clock.now() + timedelta(days=200), times=10)
        assert (await recover(console, lost(appliance))).status == 200

        await rule(console, "approve-recovery")
        console.clock.ahead = timedelta(days=201)
        assert await came_back_by(console, appliance) == 0


@pytest.mark.attack(8)
async def test_an_approval_under_a_clock_that_was_ahead_lifts_no_budget(tmp_path: Path) -> None:
    async with running_console(tmp_path / "console", SetClock()) as console:
        appliance = await paired_appliance(console)
        console.clock.ahead = timedelta(days=200)
        await rule(console, "approve-recovery")
        console.clock.ahead = timedelta()
        await dated(console, appliance, at=console.clock.now() - timedelta(minutes=1), times=10)

        assert (await recover(console, lost(appliance))).body["code"] == "recovery.needs_approval"


async def dated(console: Console, appliance: Appliance, *, at: datetime, times: int) -> None:
    """Have the console remember that the gateway came back so often at that time."""
    async with console.store() as store, store.writing(await console.scope()) as rows:
        for _ in range(times):
            await standing.add_recovery(rows, appliance.paired.gateway_id, address="192.0.2.1", now=at)


async def came_back_by(console: Console, appliance: Appliance) -> int:
    """Return how often the gateway has come back in the thirty days until now."""
    now = console.clock.now()
    async with console.store() as store, store.reading(await console.scope()) as rows:
        return await standing.recoveries_between(rows, appliance.paired.gateway_id, now - timedelta(days=30), now)


async def test_a_recovery_survives_a_console_that_is_started_again(tmp_path: Path) -> None:
    async with running_console(tmp_path / "console") as before:
        appliance = await paired_appliance(before)
        have = lost(appliance)
        first = granted(await recover(before, have))
    async with running_console(tmp_path / "console") as after:
        assert granted(await recover(after, have)) == first
