"""This file is what the conversation of recovery promises: every part of what is said is covered by the proof."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from gateway.contract.identity import Hardware, JoinState, RecoveryChallenge, RecoveryFinish
from gateway.identity import devicekeys, joinstate, recovery
from gateway.identity.recovery import Lost, RecoveryProofWrongError, Seen

NONCE, ANSWER = "a" * 64, "b" * 64
SEEN = Seen(b"p" * 32, "c" * 64)
DEVICE = devicekeys.new()
JOIN = JoinState(number=4, ticket=SecretStr("d" * 64))
LOST = Lost(UUID(int=1), DEVICE, JOIN, "a request", UUID(int=2), Hardware())


def finish() -> RecoveryFinish:
    challenge = RecoveryChallenge(challenge="opaque", nonce=ANSWER, server_time=datetime(1970, 1, 1, tzinfo=UTC))
    return recovery.prove(LOST, challenge, nonce=NONCE, seen=SEEN)


def verified(said: RecoveryFinish, *, nonce: str = ANSWER, seen: tuple[Seen, ...] = (SEEN,)) -> bytes:
    return recovery.verify(said, nonce=nonce, device_key=DEVICE.public_pem, consoles=seen)


def test_who_holds_the_device_key_and_the_join_state_proves_both_over_the_same_words() -> None:
    said = finish()

    message = verified(said, seen=(Seen(b"q" * 32, SEEN.key), SEEN))

    assert joinstate.proved(joinstate.key_of(JOIN), message, said.join_proof)


@pytest.mark.parametrize(
    "changed",
    [
        {"gateway_id": UUID(int=9)},
        {"nonce": "e" * 64},
        {"request": "another request"},
        {"boot_id": UUID(int=9)},
        {"hardware": Hardware(system_uuid=UUID(int=9))},
        {"hardware": Hardware(device_key_in_tpm=True)},
        {"join_number": 5},
        {"device_signature": "AAAA"},
        {"server_key": "f" * 64},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_whatever_is_changed_on_the_way_breaks_the_proof(changed: dict[str, Any]) -> None:
    with pytest.raises(RecoveryProofWrongError):
        verified(finish().model_copy(update=changed))


def test_a_proof_made_for_another_challenge_console_or_device_is_refused() -> None:
    with pytest.raises(RecoveryProofWrongError):
        verified(finish(), nonce="e" * 64)
    with pytest.raises(RecoveryProofWrongError):
        verified(finish(), seen=(Seen(b"q" * 32, SEEN.key),))
    with pytest.raises(RecoveryProofWrongError):
        recovery.verify(finish(), nonce=ANSWER, device_key=devicekeys.new().public_pem, consoles=[SEEN])
