"""This file is the promises of `pcg` when an appliance is taken in: tokens, words to compare, pairing anew."""

import json
from pathlib import Path

import pytest

from gateway.cli.exits import Exit
from gateway.identity import tokens
from gateway.kit import files
from tests.fakes import console as fakes
from tests.unit.cli.conftest import Answer, User


@pytest.fixture
def admin(user: User) -> User:
    user.is_signed_in()
    return user


async def made(user: User, *arguments: str) -> str:
    answer = await user.pcg("token", "create", "dc1", *arguments)
    assert answer.code == Exit.OK, answer
    return answer.out


async def paired(user: User, token: str, directory: str = "state") -> Answer:
    path = user.directory / "registration.token"
    path.write_text(token)
    state = str(user.directory / directory)
    return await user.pcg("appliance", "pair", "--token-file", str(path), "--state", state)


def words_in(answer: Answer) -> str:
    assert answer.code == Exit.OK, answer
    return answer.out.partition("fingerprint: ")[2].strip().rstrip(".")


async def shown(user: User) -> dict[str, str]:
    (one,) = json.loads((await user.pcg("gateway", "list", "-o", "json")).out)["items"]
    return dict(one)


async def test_a_token_is_explained_without_its_secret(admin: User) -> None:
    text = await made(admin, "--hours", "2")
    path = admin.directory / "token"
    path.write_text(text)
    piped = await admin.pcg("token", "inspect", stdin=text)
    filed = await admin.pcg("token", "inspect", str(path), "-o", "json")
    token = tokens.parse(text)
    for part in (token.id, token.url, admin.pin):
        assert part in piped.out
    assert json.loads(filed.out) == {
        "id": token.id,
        "console": token.url,
        "pins": [admin.pin],
        "expires_at": token.expires_at.isoformat().replace("+00:00", "Z"),
        "expired": False,
        "repairs": False,
    }
    for answer in (piped, filed):
        assert answer.err == ""
        assert text.strip() not in answer.out
        assert token.seed.hex() not in answer.out


@pytest.mark.attack(33)
async def test_a_token_on_the_command_line_is_warned_of(admin: User) -> None:
    answer = await admin.pcg("token", "inspect", (await made(admin)).strip())
    assert (answer.code, "seen by others" in answer.err) == (Exit.OK, True)


async def test_what_is_no_token_is_not_explained_and_not_repeated(user: User) -> None:
    answer = await user.pcg("token", "inspect", stdin="pcgreg1_secret")
    assert (answer.code, answer.out) == (Exit.INPUT, "")
    assert "pcgreg1_secret" not in answer.err


@pytest.mark.attack(33)
async def test_the_file_of_a_used_token_is_wiped(admin: User) -> None:
    assert (await paired(admin, await made(admin))).code == Exit.OK
    assert not (admin.directory / "registration.token").exists()


async def test_a_token_that_is_refused_is_kept_for_another_try(admin: User) -> None:
    text = await made(admin)
    await admin.pcg("token", "revoke", tokens.parse(text).id)
    assert (await paired(admin, text)).code != Exit.OK
    assert (admin.directory / "registration.token").read_text() == text


async def test_a_gateway_waits_until_its_words_were_typed(admin: User) -> None:
    answer = await admin.pcg("token", "create", "dc1", "--confirm")
    assert "confirm" in answer.err
    words = words_in(await paired(admin, answer.out))
    assert (await shown(admin))["fingerprint"] == words
    wrong = await admin.pcg("gateway", "confirm", "dc1", "--words", "lusab babad gutih tugad mudof lusab")
    assert (wrong.code, "gateway.words_differ" in wrong.err) == (Exit.OPERATOR, True)
    nobody = await admin.pcg("gateway", "confirm", "dc1")
    assert (nobody.code, "--words" in nobody.err) == (Exit.INPUT, True)
    right = await admin.pcg("gateway", "confirm", "dc1", "--words", words.upper().replace("-", " "))
    assert (right.code, "is confirmed" in right.out) == (Exit.OK, True)


async def test_words_that_can_be_nobodys_are_refused_without_raising_an_alert(admin: User) -> None:
    await paired(admin, await made(admin))
    answer = await admin.pcg("gateway", "confirm", "dc1", "--words", "lusab babad")
    assert (answer.code, "six words" in answer.err) == (Exit.INPUT, True)
    assert (await shown(admin))["conditions"] == []


async def test_to_confirm_a_gateway_that_is_confirmed_says_so(admin: User) -> None:
    words = words_in(await paired(admin, await made(admin)))
    answer = await admin.pcg("gateway", "confirm", "dc1", "--words", words)
    assert (answer.code, "is confirmed already" in answer.out) == (Exit.OK, True)


async def test_a_gateway_is_paired_anew_in_its_place(admin: User) -> None:
    first = words_in(await paired(admin, await made(admin)))
    before = await shown(admin)
    again = await admin.pcg("gateway", "repair-token", "dc1")
    assert (again.code, "pairs dc1 anew" in again.err) == (Exit.OK, True)
    second = words_in(await paired(admin, again.out))
    after = await shown(admin)
    assert first != second == after["fingerprint"]
    assert (before["id"], before["name"]) == (after["id"], after["name"])
    listed = json.loads((await admin.pcg("token", "list", "-o", "json")).out)["items"]
    assert [(one["repairs"], one["used_by"]) for one in listed] == [(True, second), (False, first)]


async def test_a_second_appliance_with_the_token_is_refused_and_told_so(admin: User, tmp_path: Path) -> None:
    text = await made(admin)
    assert (await paired(admin, text, "one")).code == Exit.OK
    answer = await paired(admin, text, "other")
    assert (answer.code, "pairing.token_used" in answer.err) == (Exit.INPUT, True)
    assert not (tmp_path / "other" / "identity" / "joined.json").exists()


async def test_a_name_that_is_taken_says_how_to_pair_anew(admin: User) -> None:
    await fakes.paired_appliance(admin.console)
    answer = await admin.pcg("token", "create", "dc1")
    assert (answer.code, "repair-token dc1" in answer.err) == (Exit.INPUT, True)


async def test_whoever_pairs_is_told_that_the_words_are_to_be_read_to_somebody_first(admin: User) -> None:
    assert "gateway confirm" not in (await paired(admin, await made(admin))).out
    answer = await paired(admin, (await admin.pcg("token", "create", "dc2", "--confirm")).out, "other")
    assert "`pcg gateway confirm dc2`" in answer.out


async def test_a_running_appliance_is_not_said_to_need_a_start(admin: User) -> None:
    answer = await paired(admin, await made(admin))
    assert "`pcg appliance run`" in answer.out
    token = (await admin.pcg("gateway", "repair-token", "dc1")).out
    with files.only_one(admin.directory / "state"):
        answer = await paired(admin, token)
    assert (answer.code, "takes it over by itself" in answer.out) == (Exit.OK, True)
    assert "`pcg appliance run`" not in answer.out


async def test_whoever_pairs_with_a_token_that_others_could_read_is_told(admin: User) -> None:
    (admin.directory / "registration.token").touch()
    (admin.directory / "registration.token").chmod(0o644)
    answer = await paired(admin, await made(admin))
    assert "registration.token was open to others" in answer.err
