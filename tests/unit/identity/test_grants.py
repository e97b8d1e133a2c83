"""This file is the promises of grants: good for one stream, one target, one session, one minute, and nothing else."""

import base64
import json
import stat
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.identity import grants, keys
from gateway.identity.grants import MOST_DOUBT, Grant, GrantKey, GrantRefusedError, Grants
from gateway.identity.keys import KeyUnreadableError
from gateway.kit.ids import new_id
from gateway.kit.strictjson import write_canonical_json
from tests.fakes.wishes import WHEN

KEY = GrantKey.new()
GATEWAY = UUID(int=7)
SECOND = timedelta(seconds=1)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=+/ \n\x00é"


def a_grant(**changed: object) -> Grant:
    fields: dict[str, object] = {
        "id": new_id(WHEN),
        "user": "ada",
        "tenant": "default",
        "gateway": GATEWAY,
        "target": "vcenter",
        "session": "s1",
        "not_before": WHEN,
        "expires": WHEN + 30 * SECOND,
    }
    return Grant.model_validate(fields | changed)


def check(
    text: str,
    *,
    known: Grants | None = None,
    gateway: UUID = GATEWAY,
    target: str = "vcenter",
    session: str = "s1",
    after: timedelta = SECOND,
    doubt: timedelta = grants.NO_DOUBT,
) -> Grant:
    judge = known or Grants(KEY.public)
    return judge.check(text, gateway=gateway, target=target, session=session, now=WHEN + after, doubt=doubt)


def signed_payload(payload: bytes, *, key: GrantKey = KEY, purpose: bytes = grants.PURPOSE) -> str:
    return f"{grants._base64(payload)}.{grants._base64(key._private.sign(purpose + payload))}"


def test_a_good_grant_says_who_may_do_what() -> None:
    grant = a_grant()
    assert check(KEY.sign(grant)) == grant


@pytest.mark.attack(34)
@pytest.mark.attack(20)
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"target": "other"}, "another target"),
        ({"session": "s2"}, "another session"),
        ({"gateway": uuid4()}, "another gateway"),
        ({"after": 30 * SECOND}, "expired"),
        ({"after": -SECOND}, "not good yet"),
    ],
)
def test_a_grant_is_worth_nothing_elsewhere(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(GrantRefusedError, match=why) as refused:
        check(KEY.sign(a_grant()), **wrong)  # type: ignore[arg-type]
    assert refused.value.code == "stream.grant_refused"


@pytest.mark.attack(34)
def test_a_grant_is_used_once() -> None:
    known, text = Grants(KEY.public), KEY.sign(a_grant())
    check(text, known=known)
    with pytest.raises(GrantRefusedError, match="used before"):
        check(text, known=known)


@pytest.mark.attack(34)
def test_the_same_id_is_used_once_even_when_signed_anew() -> None:
    known, grant = Grants(KEY.public), a_grant()
    check(KEY.sign(grant), known=known)
    with pytest.raises(GrantRefusedError, match="used before"):
        check(KEY.sign(grant.model_copy(update={"user": "eve"})), known=known)


@pytest.mark.attack(34)
@given(st.integers(0, 400), st.integers(0, 90), st.integers(-60, 60), st.integers(0, 90), st.integers(-60, 60))
def test_no_clock_that_is_off_within_its_doubt_lets_a_grant_be_used_twice(
    later: int, first_doubt: int, first_off: int, second_doubt: int, second_off: int
) -> None:
    """A third grant between the two uses has the old ones forgotten that may be."""
    known, text = Grants(KEY.public), KEY.sign(a_grant())
    seen = [
        (5, min(60, first_doubt), first_off),
        (5 + later, min(60, first_doubt), first_off),
        (5 + later, min(60, second_doubt), second_off),
    ]
    moments = [(true + max(-doubt, min(doubt, off)), doubt) for true, doubt, off in seen]
    check(text, known=known, after=moments[0][0] * SECOND, doubt=moments[0][1] * SECOND)
    now = WHEN + moments[1][0] * SECOND
    other = a_grant(id=uuid4(), not_before=now, expires=now + 10 * SECOND)
    check(KEY.sign(other), known=known, after=moments[1][0] * SECOND, doubt=moments[1][1] * SECOND)
    with pytest.raises(GrantRefusedError):
        check(text, known=known, after=moments[2][0] * SECOND, doubt=moments[2][1] * SECOND)


def test_what_is_forgotten_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "MOST_REMEMBERED", 2)
    known = Grants(KEY.public)
    for _ in range(2):
        check(KEY.sign(a_grant(id=uuid4())), known=known)
    with pytest.raises(GrantRefusedError, match="too many"):
        check(KEY.sign(a_grant(id=uuid4())), known=known)
    later = 30 * SECOND + grants.REMEMBERED + SECOND
    fresh = a_grant(id=uuid4(), not_before=WHEN + later, expires=WHEN + later + SECOND)
    assert check(KEY.sign(fresh), known=known, after=later) == fresh


def test_a_refused_grant_is_not_used_up() -> None:
    known, text = Grants(KEY.public), KEY.sign(a_grant())
    with pytest.raises(GrantRefusedError):
        check(text, known=known, target="other")
    assert check(text, known=known).user == "ada"


def test_doubt_about_the_time_is_borne_both_ways_and_no_further() -> None:
    assert check(KEY.sign(a_grant()), after=-4 * SECOND, doubt=5 * SECOND).user == "ada"
    assert check(KEY.sign(a_grant()), after=34 * SECOND, doubt=5 * SECOND).user == "ada"
    with pytest.raises(GrantRefusedError):
        check(KEY.sign(a_grant()), after=36 * SECOND, doubt=5 * SECOND)
    with pytest.raises(GrantRefusedError):
        check(KEY.sign(a_grant()), after=31 * SECOND + MOST_DOUBT, doubt=timedelta(days=1))


@pytest.mark.attack(34)
def test_a_signature_of_another_key_is_refused() -> None:
    with pytest.raises(GrantRefusedError, match="did not sign"):
        check(GrantKey.new().sign(a_grant()))


@pytest.mark.attack(34)
def test_a_signature_made_for_another_purpose_is_refused() -> None:
    payload = write_canonical_json(a_grant().model_dump(mode="json"))
    with pytest.raises(GrantRefusedError, match="did not sign"):
        check(signed_payload(payload, purpose=b""))


def _jws(header: dict[str, str], text: str, signature: str) -> str:
    return f"{grants._base64(json.dumps(header).encode())}.{text.partition('.')[0]}.{signature}"


@pytest.mark.attack(34)
@pytest.mark.parametrize("shape", ["stripped", "empty", "none", "none3", "hs256", "dots", "nothing", "list"])
def test_a_stripped_signature_or_another_algorithm_is_refused(shape: str) -> None:
    good = KEY.sign(a_grant())
    payload, signature = good.split(".")
    mac = base64.urlsafe_b64encode(KEY.public).decode().rstrip("=")
    text = {
        "stripped": payload,
        "empty": f"{payload}.",
        "none": _jws({"alg": "none"}, good, ""),
        "none3": _jws({"alg": "EdDSA"}, good, signature),
        "hs256": f"{payload}.{mac}",
        "dots": f"{good}.",
        "nothing": "",
        "list": signed_payload(b"[]"),
    }[shape]
    with pytest.raises(GrantRefusedError, match="did not sign"):
        check(text)


@pytest.mark.attack(34)
@given(st.data())
def test_any_changed_letter_is_noticed(data: st.DataObject) -> None:
    text = KEY.sign(a_grant())
    place = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(place, min(len(text), place + 3)))
    changed = text[:place] + data.draw(st.text(LETTERS, max_size=3)) + text[end:]
    if changed != text:
        with pytest.raises(GrantRefusedError, match="did not sign"):
            check(changed)


@pytest.mark.attack(34)
@given(st.binary(max_size=200))
def test_whatever_stands_there_is_refused_with_one_error(junk: bytes) -> None:
    with pytest.raises(GrantRefusedError):
        check(junk.decode("latin-1"))


def test_even_the_console_cannot_sign_a_grant_that_lasts() -> None:
    long = json.loads(a_grant().model_dump_json()) | {"expires": (WHEN + 61 * SECOND).isoformat()}
    with pytest.raises(GrantRefusedError, match="did not sign"):
        check(signed_payload(write_canonical_json(long)))
    with pytest.raises(ValidationError):
        a_grant(expires=WHEN + 61 * SECOND)


def test_what_could_be_read_in_two_ways_is_refused_though_signed() -> None:
    payload = write_canonical_json(a_grant().model_dump(mode="json"))
    twice = payload[:-1] + b',"target":"vcenter"}'
    with pytest.raises(GrantRefusedError, match="did not sign"):
        check(signed_payload(twice))


def test_the_longest_grant_fits_into_a_preamble() -> None:
    longest = a_grant(user="u" * 255, tenant="t" * 255, target="t" * 40, session="s" * 64)
    assert check(KEY.sign(longest), target="t" * 40, session="s" * 64) == longest


def test_the_key_is_kept_private_and_is_the_same_ever_after(tmp_path: Path) -> None:
    path = tmp_path / "grant.key"
    first, again = GrantKey.keep(path), GrantKey.keep(path)
    assert first.public == again.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert grants.read_public(first.public_text) == first.public


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "grant.key"
    keys.write(path, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(KeyUnreadableError, match="Ed25519"):
        GrantKey.keep(path)


@pytest.mark.parametrize("text", ["", "a", "é", "=" * 43, KEY.public_text + "=", KEY.public_text[:-1], "A" * 44])
def test_a_public_key_in_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(KeyUnreadableError):
        grants.read_public(text)


def test_the_key_is_not_in_what_is_printed() -> None:
    assert "Ed25519" not in repr(KEY)
