"""This file is what challenges promise: the console knows its own, for two minutes, for what they were asked for."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.identity.challenge import Challenger, ChallengeStaleError

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NONCE = "a" * 64
CHALLENGER = Challenger(b"s" * 32, purpose="recovery")


def test_a_challenge_is_known_again_by_every_replica() -> None:
    challenge = CHALLENGER.challenge("gateway", "nonce", nonce=NONCE, now=NOW)

    assert Challenger(b"s" * 32, purpose="recovery").opened(challenge, "gateway", "nonce", now=NOW) == NONCE


@pytest.mark.parametrize("age", [timedelta(seconds=-10), timedelta(minutes=2, seconds=1)])
def test_a_challenge_is_good_for_two_minutes(age: timedelta) -> None:
    challenge = CHALLENGER.challenge("gateway", nonce=NONCE, now=NOW)

    with pytest.raises(ChallengeStaleError):
        CHALLENGER.opened(challenge, "gateway", now=NOW + age)


@pytest.mark.parametrize("other", [Challenger(b"t" * 32, purpose="recovery"), Challenger(b"s" * 32, purpose="pairing")])
def test_a_challenge_of_another_console_or_for_another_purpose_is_none(other: Challenger) -> None:
    with pytest.raises(ChallengeStaleError):
        CHALLENGER.opened(other.challenge("gateway", nonce=NONCE, now=NOW), "gateway", now=NOW)


@pytest.mark.parametrize("asked_for", [("other",), ("gateway", ""), ("gate", "way"), ()])
def test_a_challenge_for_another_gateway_is_none(asked_for: tuple[str, ...]) -> None:
    challenge = CHALLENGER.challenge("gateway", nonce=NONCE, now=NOW)

    with pytest.raises(ChallengeStaleError):
        CHALLENGER.opened(challenge, *asked_for, now=NOW)


@pytest.mark.parametrize("nonsense", ["", ".", "..", "a.b.c", "1.2", "é.ü.ß"])
def test_nonsense_is_no_challenge(nonsense: str) -> None:
    with pytest.raises(ChallengeStaleError):
        CHALLENGER.opened(nonsense, "gateway", now=NOW)
