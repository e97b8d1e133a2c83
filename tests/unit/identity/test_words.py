"""This file is the promises of fingerprints in words."""

import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import keys, words
from gateway.identity.keys import KeyUnreadableError


def test_words_are_those_of_the_published_examples() -> None:
    # arXiv:0901.4016 gives IPv4 addresses in proquints
    for said, number in {"lusab-babad": 0x7F000001, "gutih-tugad": 0x3F54DCC1}.items():
        assert f"{words._word(number >> 16)}-{words._word(number & 0xFFFF)}" == said


def test_a_fingerprint_is_six_words_that_can_be_said() -> None:
    said = words.fingerprint(keys.public_pem(keys.new_key().public_key()))
    assert re.fullmatch(r"([bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz]-?){6}", said)


def test_a_key_has_one_fingerprint_and_another_key_another() -> None:
    one, other = (keys.public_pem(keys.new_key().public_key()) for _ in range(2))
    assert words.fingerprint(one) == words.fingerprint(one.replace("\n", "\r\n"))
    assert words.fingerprint(one) != words.fingerprint(other)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_no_two_numbers_have_the_same_word(one: int, other: int) -> None:
    assert (words._word(one) == words._word(other)) == (one == other)


@pytest.mark.parametrize("typed", ["LUSAB babad gutih", " lusab, babad,\tgutih\n", "Lusab--Babad--Gutih"])
def test_words_are_the_same_however_a_person_types_them(typed: str) -> None:
    assert words.normal(typed) == "lusab-babad-gutih"


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("LUSAB babad, gutih tugad mudof  lusab", True),
        ("lusab-babad", False),
        ("lusab-babad-gutih-tugad-mudof-lusab-babad", False),
        ("lusab-babad-gutih-tugad-mudof-lusax", False),
        ("lusab babad gutih tugad mudof lus ab", False),
        ("", False),
    ],
)
def test_six_words_that_can_be_said_are_whole_and_nothing_else_is(typed: str, whole: bool) -> None:
    assert words.are_whole(typed) is whole


@given(st.binary(min_size=32, max_size=32))
def test_every_fingerprint_is_whole(seed: bytes) -> None:
    key = ec.derive_private_key(int.from_bytes(seed, "big") % (2**255) + 1, ec.SECP256R1())
    assert words.are_whole(words.fingerprint(keys.public_pem(key.public_key())))


def test_what_is_no_device_key_has_no_fingerprint() -> None:
    with pytest.raises(KeyUnreadableError):
        words.fingerprint("nothing")
