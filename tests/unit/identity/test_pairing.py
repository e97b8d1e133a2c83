"""This file is the promises of the pairing conversation."""

import base64
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from gateway.contract.pairing import PairingFinish, PairingStart
from gateway.identity import authority, keys, pairing
from gateway.identity.pairing import Candidate, Challenger, ChallengeStaleError, ProofWrongError
from gateway.identity.tokens import RegistrationToken

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PIN = secrets.token_bytes(32)


class Conversation:
    """An honest appliance and an honest console, up to the last message."""

    def __init__(self) -> None:
        self.token = RegistrationToken(
            "https://c.example", secrets.token_bytes(10), secrets.token_bytes(32), (PIN,), NOW + timedelta(hours=1)
        )
        self.challenger = Challenger(secrets.token_bytes(32), PIN)
        self.candidate = Candidate(keys.new_key(), authority.certificate_request(keys.new_key()))

    def finish(self, *, pin: bytes = PIN) -> PairingFinish:
        start = PairingStart(token_id=self.token.id, nonce=secrets.token_hex(32))
        challenge = self.challenger.challenge(start, nonce=secrets.token_hex(32), now=NOW)
        return pairing.prove(self.token, self.candidate, challenge, nonce=start.nonce, pin=pin)

    def verify(self, finish: PairingFinish, *, now: datetime = NOW) -> None:
        self.challenger.verify(finish, token_key=self.token.public_key, now=now)


def test_an_honest_appliance_is_believed() -> None:
    talk = Conversation()
    talk.verify(talk.finish())


def test_nothing_that_is_sent_holds_the_seed() -> None:
    talk = Conversation()
    sent = talk.finish().model_dump_json()
    assert talk.token.seed.hex() not in sent
    assert base64.b64encode(talk.token.seed).decode() not in sent


def test_who_saw_another_authority_is_not_believed() -> None:
    talk = Conversation()
    with pytest.raises(ProofWrongError):
        talk.verify(talk.finish(pin=secrets.token_bytes(32)))


@pytest.mark.parametrize("field", ["nonce", "device_key", "request", "token_signature", "device_signature"])
def test_a_part_from_another_conversation_is_noticed(field: str) -> None:
    talk = Conversation()
    other = Conversation()
    mixed = talk.finish().model_copy(update={field: getattr(other.finish(), field)})
    with pytest.raises((ProofWrongError, ChallengeStaleError)):
        talk.verify(mixed)


def test_a_challenge_of_another_console_is_refused() -> None:
    talk = Conversation()
    foreign = Conversation()
    mixed = talk.finish().model_copy(update={"challenge": foreign.finish().challenge})
    with pytest.raises(ChallengeStaleError):
        talk.verify(mixed)


@pytest.mark.parametrize("later", [timedelta(minutes=3), timedelta(minutes=-3)])
def test_a_challenge_is_good_for_two_minutes(later: timedelta) -> None:
    talk = Conversation()
    finish = talk.finish()
    with pytest.raises(ChallengeStaleError):
        talk.verify(finish, now=NOW + later)


@pytest.mark.parametrize("rubbish", ["", ".", "..", "1.2.3", "x" * 2000, "1.é.3"])
def test_a_rubbish_challenge_is_refused_not_crashed_on(rubbish: str) -> None:
    talk = Conversation()
    with pytest.raises(ChallengeStaleError):
        talk.verify(talk.finish().model_copy(update={"challenge": rubbish}))
