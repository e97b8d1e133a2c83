"""This file is what a user sees of mistakes: a sentence, a stable code, a non-zero exit, nothing left."""

import sqlite3
from pathlib import Path

import pytest

from gateway.lab.site import Answer, Site
from tests.e2e import observing


def check(answer: Answer, code: str, *words: str) -> None:
    assert answer.code != 0
    assert f"[{code}]" in answer.err
    assert answer.err.startswith("error: ")
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    cpus: 1", "    cpu: 1", ["16:5", "unknown key", "did you mean cpus?"]),
        ("    cpus: 1", "    cpus: one", ["16:11", "valid integer"]),
        ("    count: 1", "    count: -1", ["10:12", "greater than or equal to 0"]),
    ],
    ids=["unknown key", "wrong type", "negative count"],
)
async def test_a_faulty_cluster_file_is_refused_with_its_line(
    place: Site, old: str, new: str, words: list[str]
) -> None:
    path = observing.write_cluster(place, "faulty", workers=1, **{old: new})
    answer = await place.pcg("cluster", "apply", "-f", path)
    check(answer, "clusterfile.invalid", path, *words)
    assert answer.code == 2
    assert "faulty" not in await observing.cluster_names(place)


async def test_a_template_that_is_not_there_is_refused_and_leaves_nothing(place: Site) -> None:
    path = observing.write_cluster(place, "untemplated", workers=1, **{"template: debian-12": "template: debian-99"})
    answer = await place.pcg("cluster", "apply", "-f", path)
    check(answer, "cloud.not_there", "debian-99", "debian-12")
    assert answer.code == 1
    await nothing_left(place, "untemplated")


async def test_a_wrong_vcenter_password_is_refused_and_leaves_nothing(place: Site) -> None:
    await place.must(
        *("appliance", "account", "add", "wrong", "--state", str(place.appliance_state), "--no-check"),
        *("--server", place.lab.vcenter_host, "--user", place.lab.user, "--thumbprint", place.lab.thumbprint),
        *("--password-file", "-"),
        stdin="not the password",
        inside=True,
    )
    path = observing.write_cluster(place, "unwelcome", workers=1, **{"account: lab": "account: wrong"})
    answer = await place.pcg("cluster", "apply", "-f", path)
    check(answer, "cloud.sign_in")
    assert "not the password" not in answer.err
    await nothing_left(place, "unwelcome")


async def test_a_wrong_password_is_told_when_the_account_is_added(place: Site) -> None:
    answer = await place.pcg(
        *("appliance", "account", "add", "typo", "--state", str(place.appliance_state)),
        *("--server", place.lab.vcenter_host, "--user", place.lab.user, "--thumbprint", place.lab.thumbprint),
        *("--password-file", "-"),
        stdin="not the password",
        inside=True,
    )
    check(answer, "cloud.sign_in")
    listed = await place.must("appliance", "account", "list", "--state", str(place.appliance_state))
    assert "typo" not in listed


async def test_an_unknown_account_is_named(place: Site) -> None:
    path = observing.write_cluster(place, "nobodys", workers=1, **{"account: lab": "account: nowhere"})
    check(await place.pcg("cluster", "apply", "-f", path), "account.unknown", "nowhere", "lab")
    await nothing_left(place, "nobodys")


async def test_an_unknown_gateway_is_named(place: Site) -> None:
    path = observing.write_cluster(place, "astray", workers=1, **{"gateway: dc1": "gateway: dc7"})
    answer = await place.pcg("cluster", "apply", "-f", path)
    assert answer.code == 2
    assert "dc7" in answer.err
    assert "astray" not in await observing.cluster_names(place)


async def pair(place: Site, token: str, directory: Path) -> Answer:
    state = str(directory / "other-appliance")
    return await place.pcg("appliance", "pair", "--token-file", "-", "--state", state, stdin=token, inside=True)


async def test_an_expired_token_is_refused(place: Site, tmp_path: Path) -> None:
    token = await place.must("token", "create", "late")
    with sqlite3.connect(place.directory / "console" / "console.sqlite", timeout=30) as database:
        database.execute(
            "UPDATE registration_tokens SET expires_at = '2020-01-01 00:00:00.000000' WHERE gateway_name = 'late'"
        )
    database.close()
    check(await pair(place, token, tmp_path), "pairing.token_expired")
    await no_gateway(place, "late")


async def test_a_token_used_by_another_appliance_is_refused(place: Site, tmp_path: Path) -> None:
    token = await place.must("token", "create", "once")
    assert (await pair(place, token, tmp_path / "first")).code == 0
    check(await pair(place, token, tmp_path / "second"), "pairing.token_used")


async def test_a_revoked_token_is_refused(place: Site, tmp_path: Path) -> None:
    answer = await place.pcg("token", "create", "withdrawn")
    token_id = answer.err.split()[1]
    await place.must("token", "revoke", token_id)
    check(await pair(place, answer.out, tmp_path), "pairing.token_revoked")
    await no_gateway(place, "withdrawn")


async def test_a_mangled_token_is_refused_before_anybody_is_called(place: Site, tmp_path: Path) -> None:
    token = (await place.must("token", "create", "garbled")).strip()
    check(await pair(place, token[:-12] + "x" + token[-11:], tmp_path), "token.mangled")
    await no_gateway(place, "garbled")


async def test_pairing_twice_is_refused(place: Site) -> None:
    token = await place.must("token", "create", "again")
    answer = await place.pcg(
        "appliance", "pair", "--token-file", "-", "--state", str(place.appliance_state), stdin=token, inside=True
    )
    check(answer, "appliance.already_paired", "dc1")


async def test_nobody_signs_in_to_a_console_whose_pin_was_not_given(place: Site) -> None:
    answer = await place.pcg("login", place.url, "--key-file", "-", stdin="pcgkey1_0123456789abcdef_wrong")
    check(answer, "cli.pin_unknown", "--pin")


async def nothing_left(place: Site, name: str) -> None:
    assert observing.vms(place, name) == []
    assert name not in await observing.cluster_names(place)
    assert not [one for one in await observing.folders(place) if name in one]


async def no_gateway(place: Site, name: str) -> None:
    assert name not in await place.must("gateway", "list")
