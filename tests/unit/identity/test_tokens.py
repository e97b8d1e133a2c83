"""This file is the promises of the registration token."""

import secrets
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import tokens
from gateway.identity.tokens import RegistrationToken, TokenMangledError


def a_token(*, pins: int = 1, repairs: bool = False) -> RegistrationToken:
    return RegistrationToken(
        url="https://console.example:8443",
        token_id=secrets.token_bytes(10),
        seed=secrets.token_bytes(32),
        pins=tuple(secrets.token_bytes(32) for _ in range(pins)),
        expires_at=datetime(2027, 1, 2, 3, 4, tzinfo=UTC),
        repairs=repairs,
    )


@pytest.mark.parametrize("pins", [1, 2])
@pytest.mark.parametrize("repairs", [False, True])
def test_a_token_read_back_says_the_same(pins: int, repairs: bool) -> None:
    token = a_token(pins=pins, repairs=repairs)
    assert tokens.parse(token.text()) == token


@pytest.mark.parametrize("pins", [0, 3])
def test_a_token_has_one_pin_or_two(pins: int) -> None:
    with pytest.raises(TokenMangledError):
        tokens.parse(a_token(pins=pins).text())


@pytest.mark.parametrize("flags", [2, 4, 128, 255])
def test_a_token_with_a_flag_that_we_do_not_know_is_refused(flags: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(tokens, "REPAIRS", flags)
        text = a_token(repairs=True).text()
    with pytest.raises(TokenMangledError):
        tokens.parse(text)


def test_line_breaks_and_spaces_of_a_paste_are_forgiven() -> None:
    text = a_token().text()
    assert tokens.parse(f"  {text[:40]}\n  {text[40:]}\n") == tokens.parse(text)


@given(st.data())
def test_any_changed_character_is_noticed(data: st.DataObject) -> None:
    text = a_token().text()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"))
    changed = text[:place] + other + text[place + 1 :]
    if changed != text:
        with pytest.raises(TokenMangledError):
            tokens.parse(changed)


def test_a_changed_last_letter_before_the_checksum_is_noticed_also_if_it_decodes_alike() -> None:
    body, checksum = a_token().text().rsplit("_", 1)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in letters.replace(body[-1], ""):
        with pytest.raises(TokenMangledError):
            tokens.parse(f"{body[:-1]}{other}_{checksum}")


@given(st.integers(0, 150))
def test_a_token_cut_short_is_noticed(length: int) -> None:
    with pytest.raises(TokenMangledError):
        tokens.parse(a_token().text()[:length])


@given(st.text(max_size=300))
def test_any_other_text_is_refused_with_a_code(text: str) -> None:
    with pytest.raises(TokenMangledError) as caught:
        tokens.parse(text)
    assert caught.value.code == "token.mangled"


def test_the_seed_is_not_in_the_representation() -> None:
    token = a_token()
    assert token.seed.hex() not in repr(token)
    assert str(token.seed) not in repr(token)
