"""This file is the promises of the pairing conversation."""

import base64
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from gateway.contract.identity import Hardware
from gateway.contract.pairing import PairingChallenge, PairingFinish
from gateway.identity import authority, devicekeys, keys, pairing
from gateway.identity.pairing import Candidate, ProofWrongError, Server
from gateway.identity.tokens import RegistrationToken

EXPIRES = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CONSOLE = Server("https://c.example", secrets.token_bytes(32), secrets.token_hex(32))


class Conversation:
    """An honest appliance and an honest console, up to the last message."""

    def __init__(self) -> None:
        self.token = RegistrationToken(
            CONSOLE.url, secrets.token_bytes(10), secrets.token_bytes(32), (CONSOLE.pin,), EXPIRES
        )
        request = authority.certificate_request(keys.new_key())
        self.candidate = Candidate(devicekeys.new(), request, Hardware(system_uuid=uuid4()))
        self.nonce = secrets.token_hex(32)

    def finish(self, *, server: Server = CONSOLE) -> PairingFinish:
        challenge = PairingChallenge(challenge="any", nonce=self.nonce, server_time=EXPIRES - timedelta(hours=1))
        return pairing.prove(self.token, self.candidate, challenge, nonce=secrets.token_hex(32), server=server)

    def verify(self, finish: PairingFinish, *servers: Server) -> None:
        pairing.verify(finish, nonce=self.nonce, token_key=self.token.public_key, servers=servers or (CONSOLE,))


def test_an_honest_appliance_is_believed() -> None:
    talk = Conversation()
    talk.verify(talk.finish())


def test_it_is_believed_whichever_of_the_consoles_authorities_it_has_verified() -> None:
    talk = Conversation()
    following = replace(CONSOLE, pin=secrets.token_bytes(32))
    talk.verify(talk.finish(server=following), CONSOLE, following)


@pytest.mark.attack(4)
def test_nothing_that_is_sent_holds_the_seed() -> None:
    talk = Conversation()
    sent = talk.finish().model_dump_json()
    assert talk.token.seed.hex() not in sent
    assert base64.b64encode(talk.token.seed).decode() not in sent


@pytest.mark.attack(3)
@pytest.mark.parametrize(
    "seen",
    [
        replace(CONSOLE, url="https://other.example"),
        replace(CONSOLE, pin=secrets.token_bytes(32)),
        replace(CONSOLE, key=secrets.token_hex(32)),
    ],
    ids=["another URL", "another authority", "another TLS key"],
)
def test_who_has_spoken_with_another_console_is_not_believed(seen: Server) -> None:
    talk = Conversation()
    with pytest.raises(ProofWrongError):
        talk.verify(talk.finish(server=seen))


@pytest.mark.attack(3)
def test_a_proof_that_was_made_for_another_tls_key_is_not_made_good_by_naming_ours() -> None:
    talk = Conversation()
    finish = talk.finish(server=replace(CONSOLE, key=secrets.token_hex(32)))
    with pytest.raises(ProofWrongError):
        talk.verify(finish.model_copy(update={"server_key": CONSOLE.key}))


@pytest.mark.parametrize("field", ["nonce", "device_key", "request", "hardware", "token_signature", "device_signature"])
def test_a_part_from_another_conversation_is_noticed(field: str) -> None:
    talk = Conversation()
    other = Conversation()
    mixed = talk.finish().model_copy(update={field: getattr(other.finish(), field)})
    with pytest.raises(ProofWrongError):
        talk.verify(mixed)


@pytest.mark.attack(2)
def test_an_answer_to_another_challenge_is_noticed() -> None:
    talk = Conversation()
    finish = talk.finish()
    talk.nonce = secrets.token_hex(32)
    with pytest.raises(ProofWrongError):
        talk.verify(finish)


def test_where_the_device_key_is_said_to_live_cannot_be_changed_on_the_way() -> None:
    talk = Conversation()
    boast = Hardware(system_uuid=talk.candidate.hardware.system_uuid, device_key_in_tpm=True)
    with pytest.raises(ProofWrongError):
        talk.verify(talk.finish().model_copy(update={"hardware": boast}))
