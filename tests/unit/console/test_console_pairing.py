"""This file is what the console's pairing endpoints promise."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.contract.pairing import PairingResult
from gateway.identity import pairing, tokens
from gateway.identity.challenge import Challenger
from tests.fakes.console import Console, candidate, finish, proof_of, start, token


async def test_an_appliance_with_a_token_is_paired(console: Console) -> None:
    parsed = tokens.parse(await token(console))

    said = await finish(console, parsed, candidate()[0])

    result = PairingResult.model_validate(said.body)
    assert (said.status, result.gateway_name, result.tunnel) == (200, "dc1", console.reached.tunnel)
    listed = (await console.ask("GET", "/api/v1/gateways")).body["items"]
    assert [(one["name"], one["status"]) for one in listed] == [("dc1", "never-connected")]
    shown = (await console.ask("GET", "/api/v1/registration-tokens")).body["items"]
    assert shown[0]["state"] == "used"


async def test_the_token_says_where_the_console_is(console: Console) -> None:
    assert tokens.parse(await token(console)).url == console.reached.api


async def test_the_same_device_gets_the_same_answer_again(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    applicant, _ = candidate()
    first = await finish(console, parsed, applicant)

    again = await finish(console, parsed, applicant)

    told = {"server_time": None}
    assert (again.status, again.body | told) == (200, first.body | told)


async def test_the_same_device_too_late_is_told_the_token_was_used(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    applicant, _ = candidate()
    await finish(console, parsed, applicant)
    console.clock.ahead = timedelta(minutes=16)

    said = await finish(console, parsed, applicant)

    assert (said.status, said.body["code"]) == (409, "pairing.token_used")


async def test_another_device_is_told_the_token_was_used(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    await finish(console, parsed, candidate()[0])

    said = await finish(console, parsed, candidate()[0])

    assert (said.status, said.body["code"]) == (409, "pairing.token_used")
    assert len((await console.ask("GET", "/api/v1/gateways")).body["items"]) == 1


async def test_of_many_devices_at_once_exactly_one_is_paired(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    applicants = [candidate()[0] for _ in range(4)]

    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(finish(console, parsed, one)) for one in applicants]

    assert sorted(one.result().status for one in tries) == [200, 409, 409, 409]


async def test_an_expired_token_is_refused(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    console.clock.ahead = timedelta(hours=25)

    said, _ = await start(console, parsed)

    assert (said.status, said.body["code"]) == (410, "pairing.token_expired")


async def test_a_revoked_token_is_refused(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    await console.ask("DELETE", f"/api/v1/registration-tokens/{parsed.id}")

    said, _ = await start(console, parsed)

    assert (said.status, said.body["code"]) == (410, "pairing.token_revoked")


async def test_a_token_revoked_between_start_and_finish_is_refused(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    said, nonce = await start(console, parsed)
    await console.ask("DELETE", f"/api/v1/registration-tokens/{parsed.id}")

    proof = proof_of(console, parsed, candidate()[0], said, nonce)
    refused = await console.ask("POST", "/api/v1/pairing/finish", proof.model_dump(mode="json"), key="")

    assert (refused.status, refused.body["code"]) == (410, "pairing.token_revoked")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"token_id": bytes(10)}, 404, "pairing.token_unknown"),
        ({"seed": bytes(32)}, 403, "pairing.proof_wrong"),
    ],
)
async def test_a_forged_token_is_refused(console: Console, changed: dict[str, bytes], status: int, code: str) -> None:
    forged = replace(tokens.parse(await token(console)), **changed)  # type: ignore[arg-type]

    said = await finish(console, forged, candidate()[0])

    assert (said.status, said.body["code"]) == (status, code)
    assert (await console.ask("GET", "/api/v1/gateways")).body["items"] == []


async def test_a_damaged_certificate_request_is_refused_and_the_token_stays_open(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    good, _ = candidate()

    said = await finish(console, parsed, pairing.Candidate(good.device, "nonsense"))

    assert (said.status, said.body["code"]) == (422, "identity.request_refused")
    assert (await finish(console, parsed, good)).status == 200


async def test_an_old_challenge_is_stale(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    said, nonce = await start(console, parsed)
    console.clock.ahead = timedelta(minutes=3)

    proof = proof_of(console, parsed, candidate()[0], said, nonce)
    refused = await console.ask("POST", "/api/v1/pairing/finish", proof.model_dump(mode="json"), key="")

    assert (refused.status, refused.body["code"]) == (409, "identity.challenge_stale")


async def test_two_tokens_for_one_name_pair_one_gateway(console: Console) -> None:
    first, second = tokens.parse(await token(console)), tokens.parse(await token(console))
    await finish(console, first, candidate()[0])

    said = await finish(console, second, candidate()[0])

    assert (said.status, said.body["code"]) == (410, "pairing.token_revoked")
    made = await console.ask("POST", "/api/v1/registration-tokens", {"gateway": "dc1"})
    assert (made.status, made.body["code"]) == (409, "gateway.name_taken")


async def test_one_token_cannot_be_tried_without_end(console: Console) -> None:
    parsed = tokens.parse(await token(console))

    answers = [await start(console, parsed) for _ in range(12)]

    last = answers[-1][0]
    assert (last.status, last.body["code"]) == (429, "console.too_often")
    assert int(last.headers["Retry-After"]) >= 1


async def test_challenges_outlive_a_restart_of_the_console(console: Console) -> None:
    parsed = tokens.parse(await token(console))
    said, nonce = await start(console, parsed)
    secret = console.settings.state / "pairing.secret"

    assert secret.stat().st_mode & 0o777 == 0o600
    nonce_seen = Challenger(secret.read_bytes(), purpose="pairing").opened(
        said.body["challenge"], parsed.id, nonce, now=console.clock.now()
    )
    assert nonce_seen == said.body["nonce"]
