"""This file is what becomes of tokens that are used again, stolen, searched for, or made to pair a gateway anew."""

import asyncio
import base64
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.console.limits import Buckets
from gateway.console.records import Standing
from gateway.console.store import gateways, standing, tokens
from gateway.contract.identity import Hardware
from gateway.contract.pairing import PairingFinish, PairingResult
from gateway.identity import authority, joinstate, keys, words
from gateway.identity import tokens as texts
from gateway.identity.pairing import Candidate
from gateway.identity.tokens import RegistrationToken
from tests.fakes.console import Console, Said, candidate, finish, proof_of, start, token

RACERS = 50


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the limit of attempts: the race is about what happens behind that door."""
    monkeypatch.setattr(Buckets, "take", lambda *_args, **_named: None)


async def parsed(console: Console, name: str = "dc1") -> RegistrationToken:
    return texts.parse(await token(console, name))


async def repair(console: Console, name: str = "dc1", **wish: object) -> RegistrationToken:
    said = await console.ask("POST", f"/api/v1/gateways/{name}/repair-token", wish)
    assert said.status == 201, said
    return texts.parse(said.body["token"])


async def said_last(console: Console, proof: PairingFinish) -> Said:
    return await console.ask("POST", "/api/v1/pairing/finish", proof.model_dump(mode="json"), key="")


async def race(console: Console, one: RegistrationToken, applicants: list[Candidate]) -> list[Said]:
    """Have every applicant say its last word at once, each after a start of its own."""
    started = [await start(console, one) for _ in applicants]
    proofs = [proof_of(console, one, who, *asked) for who, asked in zip(applicants, started, strict=True)]
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(said_last(console, proof)) for proof in proofs]
    return [one.result() for one in tries]


async def conditions(console: Console, name: str = "dc1") -> dict[str, str]:
    async with console.store() as store, store.reading(await console.scope()) as rows:
        return {one.type: one.message for one in (await gateways.named(rows, name)).conditions}


async def audited(console: Console, action: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await console.ask("GET", f"/api/v1/audit?action={action}")).body["items"]
    return items


def fingerprint(one: Candidate) -> str:
    return words.fingerprint(one.device.public_pem)


@pytest.mark.attack(1)
@pytest.mark.usefixtures("uncounted")
async def test_of_fifty_devices_that_race_for_one_token_exactly_one_becomes_a_gateway(console: Console) -> None:
    applicants = [candidate()[0] for _ in range(RACERS)]
    answers = await race(console, await parsed(console), applicants)
    assert sorted(one.status for one in answers) == [200, *[409] * (RACERS - 1)]
    assert {one.body["code"] for one in answers if one.status == 409} == {"pairing.token_used"}
    assert [one["name"] for one in (await console.ask("GET", "/api/v1/gateways")).body["items"]] == ["dc1"]
    assert "token-used-elsewhere" in await conditions(console)


@pytest.mark.attack(1)
@pytest.mark.usefixtures("uncounted")
async def test_fifty_attempts_of_one_device_at_once_get_one_identity_and_no_alert(console: Console) -> None:
    applicant = candidate()[0]
    answers = await race(console, await parsed(console), [applicant] * RACERS)
    results = [PairingResult.model_validate(one.body) for one in answers]
    assert len({(one.gateway_id, one.certificate, one.join.ticket.get_secret_value()) for one in results}) == 1
    assert len((await console.ask("GET", "/api/v1/gateways")).body["items"]) == 1
    assert await conditions(console) == {}


@pytest.mark.attack(1)
async def test_a_second_device_is_refused_and_the_alert_names_both(console: Console) -> None:
    one, (first, _), (second, _) = await parsed(console), candidate(), candidate()
    await finish(console, one, first)
    said = await finish(console, one, second)
    assert (said.status, said.body["code"]) == (409, "pairing.token_used")
    alert = (await conditions(console))["token-used-elsewhere"]
    assert fingerprint(first) in alert
    assert fingerprint(second) in alert
    (entry,) = await audited(console, "pairing.token-used")
    assert entry["gateway"] == "dc1"
    assert entry["facts"] == {"token": one.id, "device": fingerprint(second), "paired": fingerprint(first)}


@pytest.mark.attack(1)
async def test_a_device_that_knocks_again_and_again_is_told_of_once(console: Console) -> None:
    one, (second, _) = await parsed(console), candidate()
    await finish(console, one, candidate()[0])
    for _ in range(3):
        await finish(console, one, second)
    assert len(await audited(console, "pairing.token-used")) == 1


@pytest.mark.attack(1)
async def test_one_that_shows_a_fresh_device_each_time_fills_no_log(console: Console) -> None:
    one = await parsed(console)
    await finish(console, one, candidate()[0])
    await finish(console, one, candidate()[0])
    first = await conditions(console)
    for _ in range(2):
        assert (await finish(console, one, candidate()[0])).status == 409
    assert len(await audited(console, "pairing.token-used")) == 1
    assert await conditions(console) == first, "the first of them is who was told of"


@pytest.mark.attack(1)
async def test_a_second_device_is_told_of_also_when_the_token_is_long_over(console: Console) -> None:
    one = await parsed(console)
    await finish(console, one, candidate()[0])
    console.clock.ahead = timedelta(days=30)
    assert (await finish(console, one, candidate()[0])).status == 409
    assert "token-used-elsewhere" in await conditions(console)


@pytest.mark.attack(2)
async def test_a_last_word_that_was_listened_to_is_refused(console: Console) -> None:
    one = await parsed(console)
    proof = proof_of(console, one, candidate()[0], *await start(console, one))
    assert (await said_last(console, proof)).status == 200
    said = await said_last(console, proof)
    assert (said.status, said.body["code"]) == (409, "identity.challenge_stale")


@pytest.mark.attack(2)
async def test_so_is_one_by_which_a_lost_answer_was_asked_for_again(console: Console) -> None:
    one, (applicant, _) = await parsed(console), candidate()
    first, again = [proof_of(console, one, applicant, *await start(console, one)) for _ in range(2)]
    assert [(await said_last(console, proof)).status for proof in (first, again, first, again)] == [200, 200, 409, 409]


@pytest.mark.attack(2)
async def test_a_last_word_to_another_start_is_refused(console: Console) -> None:
    one = await parsed(console)
    (first, nonce), (second, _) = await start(console, one), await start(console, one)
    proof = proof_of(console, one, candidate()[0], first, nonce)
    said = await said_last(console, proof.model_copy(update={"challenge": second.body["challenge"]}))
    assert (said.status, said.body["code"]) == (409, "identity.challenge_stale")


async def test_the_same_device_with_another_request_does_not_get_the_first_ones_certificate(console: Console) -> None:
    one, (applicant, _) = await parsed(console), candidate()
    await finish(console, one, applicant)
    other = Candidate(applicant.device, authority.certificate_request(keys.new_key()))
    said = await finish(console, one, other)
    assert (said.status, said.body["code"]) == (409, "pairing.token_used")
    assert await conditions(console) == {}


@pytest.mark.attack(4)
async def test_in_database_logs_and_backup_there_is_nothing_to_join_with(
    console: Console, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unused, used = await token(console, "unused"), await token(console, "dc1")
    (first, private) = candidate()
    joined = [PairingResult.model_validate((await finish(console, texts.parse(used), first)).body)]
    await finish(console, texts.parse(used), candidate()[0])
    again = await repair(console)
    joined.append(PairingResult.model_validate((await finish(console, again, candidate()[0])).body))
    backup = tmp_path / "backup.sqlite"
    with (
        closing(sqlite3.connect(console.settings.state / "console.sqlite")) as source,
        closing(sqlite3.connect(backup)) as copy,
    ):
        source.backup(copy)
    output = capsys.readouterr()
    state = [path.read_bytes() for path in console.settings.state.rglob("*") if path.is_file()]
    searched = [output.out.encode(), output.err.encode(), backup.read_bytes(), *state]
    assert b"gateway paired" in b"".join(searched), "the logs were not caught"
    seeds = [texts.parse(text).seed for text in (unused, used, again.text())]
    tickets = [bytes.fromhex(one.join.ticket.get_secret_value()) for one in joined]
    for secret in (*seeds, *tickets):
        for shape in (secret, secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret)):
            assert not any(shape.rstrip(b"=") in place for place in searched)
    assert not any(texts.PREFIX.encode() in place for place in searched)
    assert not any(keys.private_pem(private) in place for place in searched)


@pytest.mark.attack(4)
async def test_who_has_read_the_whole_row_of_a_token_cannot_join_with_it(console: Console) -> None:
    one = await parsed(console)
    async with console.store() as store, store.reading(await console.scope()) as rows:
        row = await tokens.get(rows, one.id)
    forged = RegistrationToken(one.url, one.token_id, row.public_key, one.pins, one.expires_at)
    said = await finish(console, forged, candidate()[0])
    assert (said.status, said.body["code"]) == (403, "pairing.proof_wrong")


@pytest.mark.attack(4)
async def test_who_has_read_what_is_kept_of_a_join_state_can_prove_none(console: Console) -> None:
    result = PairingResult.model_validate((await finish(console, await parsed(console), candidate()[0])).body)
    async with console.store() as store, store.reading(await console.scope()) as rows:
        row = await tokens.get(rows, (await tokens.every(rows))[0].id)
        kept = await standing.papers(rows, result.gateway_id)
    assert row.answer is not None
    assert "ticket" not in row.answer.model_dump_json()
    assert kept.join_key == joinstate.key_of(result.join)
    assert kept.join_number == result.join.number == 1


async def test_what_the_machine_says_of_itself_is_remembered(console: Console) -> None:
    applicant, system = candidate()[0], uuid4()
    one = Candidate(applicant.device, applicant.request, Hardware(system_uuid=system))
    await finish(console, await parsed(console), one)
    async with console.store() as store, store.reading(await console.scope()) as rows:
        assert (await gateways.named(rows, "dc1")).system_uuid == system


async def test_a_repair_token_puts_a_new_identity_in_the_place_of_the_old_one(console: Console) -> None:
    first = PairingResult.model_validate((await finish(console, await parsed(console), candidate()[0])).body)
    async with console.store() as store, store.reading(await console.scope()) as rows:
        before = await gateways.named(rows, "dc1")
    one, (fresh, _) = await repair(console), candidate()
    assert one.repairs
    second = PairingResult.model_validate((await finish(console, one, fresh)).body)
    assert (second.gateway_id, second.gateway_name) == (first.gateway_id, "dc1")
    assert second.join.number == first.join.number + 1
    async with console.store() as store, store.reading(await console.scope()) as rows:
        after = await gateways.named(rows, "dc1")
        assert await standing.spent_at(rows, after.id, before.certificate_serial) is not None
    assert after.device_key == fresh.device.public_pem != before.device_key
    assert (after.epoch, after.acknowledged) == (before.epoch, before.acknowledged)
    assert len(await audited(console, "gateway.repair")) == 1


@pytest.mark.parametrize("was", [Standing.REVOKED, Standing.QUARANTINED, Standing.PAUSED])
async def test_a_repaired_gateway_works_again_whatever_was_the_matter(console: Console, was: Standing) -> None:
    one = await parsed(console)
    await finish(console, one, candidate()[0])
    await finish(console, one, candidate()[0])
    async with console.store() as store, store.writing(await console.scope()) as rows:
        await standing.set_standing(rows, (await gateways.named(rows, "dc1")).id, was)
    assert await conditions(console) != {}
    await finish(console, await repair(console), candidate()[0])
    async with console.store() as store, store.reading(await console.scope()) as rows:
        assert (await gateways.named(rows, "dc1")).standing is Standing.ACTIVE
    assert await conditions(console) == {}


async def test_the_answer_of_before_a_repair_is_owed_to_nobody(console: Console) -> None:
    one, (old, _) = await parsed(console), candidate()
    await finish(console, one, old)
    await finish(console, await repair(console), candidate()[0])
    said = await finish(console, one, old)
    assert (said.status, said.body["code"]) == (409, "pairing.token_used")


async def test_a_repair_token_of_a_gateway_that_was_removed_pairs_nothing(console: Console) -> None:
    await finish(console, await parsed(console), candidate()[0])
    one = await repair(console)
    await console.ask("DELETE", "/api/v1/gateways/dc1")
    said, _ = await start(console, one)
    assert (said.status, said.body["code"]) == (404, "gateway.unknown")


@pytest.mark.attack(5)
@pytest.mark.parametrize("since", ["another was made", "another was used", "the gateway was revoked"])
async def test_a_repair_token_that_was_forgotten_undoes_nothing_that_was_decided_since(
    console: Console, since: str
) -> None:
    await finish(console, await parsed(console), candidate()[0])
    forgotten = await repair(console)
    if since == "the gateway was revoked":
        await console.ask("POST", "/api/v1/gateways/dc1/revoke", {"reason": "copied"})
    else:
        another = await repair(console)
        if since == "another was used":
            assert (await finish(console, another, candidate()[0])).status == 200
    async with console.store() as store, store.reading(await console.scope()) as rows:
        before = await gateways.named(rows, "dc1")

    said = await finish(console, forgotten, candidate()[0])

    assert (said.status, said.body["code"]) == (410, "pairing.token_revoked")
    async with console.store() as store, store.reading(await console.scope()) as rows:
        assert await gateways.named(rows, "dc1") == before
    assert [one["facts"]["token"] for one in await audited(console, "token.revoke")] == [forgotten.id]


async def test_of_several_tokens_for_one_name_the_first_that_is_used_is_the_last(console: Console) -> None:
    used, forgotten, other = await parsed(console), await parsed(console), await parsed(console, "dc2")
    assert (await finish(console, used, candidate()[0])).status == 200
    await console.ask("DELETE", "/api/v1/gateways/dc1")

    said = await finish(console, forgotten, candidate()[0])

    assert (said.status, said.body["code"]) == (410, "pairing.token_revoked")
    assert (await finish(console, other, candidate()[0])).status == 200
    assert [one["facts"]["token"] for one in await audited(console, "token.revoke")] == [forgotten.id]


async def test_a_token_of_another_gateway_stays_good_when_one_is_revoked(console: Console) -> None:
    for name in ("dc1", "dc2"):
        await finish(console, await parsed(console, name), candidate()[0])
    other, fresh = await repair(console, "dc2"), await parsed(console, "dc3")
    await console.ask("POST", "/api/v1/gateways/dc1/revoke", {})

    assert [(await finish(console, one, candidate()[0])).status for one in (other, fresh)] == [200, 200]


async def test_a_repair_token_is_made_only_for_a_gateway_that_is_there(console: Console) -> None:
    said = await console.ask("POST", "/api/v1/gateways/dc1/repair-token", {})
    assert (said.status, said.body["code"]) == (404, "gateway.unknown")


async def test_tokens_are_audited_without_their_secret(console: Console) -> None:
    one = await parsed(console)
    await console.ask("DELETE", f"/api/v1/registration-tokens/{one.id}")
    (made,), (revoked,) = await audited(console, "token.create"), await audited(console, "token.revoke")
    assert (made["actor"], made["gateway"], made["facts"]["token"]) == ("admin", "dc1", one.id)
    assert revoked["facts"] == {"token": one.id}


@pytest.mark.parametrize("hours", [0, 169])
async def test_a_token_lives_from_one_hour_to_seven_days(console: Console, hours: int) -> None:
    for path, wish in (("registration-tokens", {"gateway": "dc1"}), ("gateways/dc1/repair-token", {})):
        assert (await console.ask("POST", f"/api/v1/{path}", {**wish, "hours": hours})).status == 422
