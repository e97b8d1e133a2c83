"""This file is the promises of approvals: a word is good for one command, at one gateway, until it is over."""

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.appliance.policy.kept import KEPT_FOR, MOST_WAITING, YES_LASTS, Kept, NothingWaitsError
from gateway.identity import approval, keys
from gateway.identity.keys import KeyUnreadableError
from tests.fakes.wishes import a_delete
from tests.unit.appliance.policy.policies import NOW

GATEWAY = uuid4()
SOON = NOW + timedelta(hours=1)


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept.open(tmp_path)


def test_a_signature_is_good_for_what_was_signed(key: Ed25519PrivateKey) -> None:
    command = a_delete(uuid4())
    signed = approval.sign(key, command, gateway=GATEWAY, expires=SOON)
    assert approval.is_good(signed, command, gateway=GATEWAY, now=NOW)


@pytest.mark.attack(22)
@pytest.mark.parametrize("what", ["command", "content", "gateway", "late", "expires", "key", "signature"])
def test_a_signature_is_good_for_nothing_else(key: Ed25519PrivateKey, what: str) -> None:
    command = a_delete(uuid4())
    signed = approval.sign(key, command, gateway=GATEWAY, expires=SOON)
    now, gateway, shown = NOW, GATEWAY, command
    match what:
        case "command":
            shown = command.model_copy(update={"id": uuid4()})
        case "content":
            shown = command.model_copy(update={"task": a_delete(uuid4()).task})
        case "gateway":
            gateway = uuid4()
        case "late":
            now = SOON
        case "expires":
            signed = signed.model_copy(update={"expires": SOON + timedelta(days=1)})
        case "key":
            other = approval.public_text(Ed25519PrivateKey.generate())
            signed = signed.model_copy(update={"key": other})
        case "signature":
            flipped = "B" if signed.signature[0] == "A" else "A"
            signed = signed.model_copy(update={"signature": flipped + signed.signature[1:]})
    assert not approval.is_good(signed, shown, gateway=gateway, now=now)


def test_keys_are_read_as_openssl_and_as_ssh_keygen_write_them(key: Ed25519PrivateKey) -> None:
    ssh = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    for content in (approval.private_pem(key), ssh):
        assert approval.public_text(approval.read_key(content, name="k")) == approval.public_text(key)


@pytest.mark.parametrize("content", [b"", b"nonsense", keys.private_pem(ec.generate_private_key(ec.SECP256R1()))])
def test_what_is_no_ed25519_key_is_refused(content: bytes) -> None:
    with pytest.raises(KeyUnreadableError, match="k is no Ed25519"):
        approval.read_key(content, name="k")


def test_a_yes_given_on_the_appliance_is_over_after_a_day(kept: Kept) -> None:
    command = a_delete(uuid4())
    kept.wait(command, reason="destroys", now=NOW)
    kept.approve(command.id, by="root", now=NOW)
    found = kept.of(command)
    assert found is not None
    assert found.is_approved(NOW + YES_LASTS / 2)
    assert not found.is_approved(NOW + YES_LASTS)


@pytest.mark.attack(22)
def test_a_yes_is_for_what_the_command_said_when_it_was_given(kept: Kept) -> None:
    command = a_delete(uuid4())
    kept.wait(command, reason="destroys", now=NOW)
    kept.approve(command.id, by="root", now=NOW)
    changed = command.model_copy(update={"task": a_delete(uuid4()).task})
    assert kept.of(changed) is None
    kept.wait(changed, reason="destroys", now=NOW)
    found = kept.of(changed)
    assert found is not None
    assert found.approved_at is None


def test_nobody_says_yes_to_what_does_not_wait(kept: Kept, key: Ed25519PrivateKey) -> None:
    command = a_delete(uuid4())
    with pytest.raises(NothingWaitsError, match="pcg appliance approvals"):
        kept.approve(command.id, by="root", now=NOW)
    with pytest.raises(NothingWaitsError):
        kept.add(approval.sign(key, command, gateway=GATEWAY, expires=SOON), gateway=GATEWAY, now=NOW)


def test_what_waits_is_bounded_and_what_has_a_yes_is_kept(kept: Kept) -> None:
    first = a_delete(uuid4())
    kept.wait(first, reason="destroys", now=NOW)
    kept.approve(first.id, by="root", now=NOW)
    for number in range(MOST_WAITING + 3):
        kept.wait(a_delete(uuid4()), reason="destroys", now=NOW + timedelta(seconds=number))
    assert len(kept.waiting()) == MOST_WAITING + 1
    assert kept.of(first) is not None


def test_what_waited_for_a_week_is_forgotten(kept: Kept) -> None:
    old, new = a_delete(uuid4()), a_delete(uuid4())
    kept.wait(old, reason="destroys", now=NOW)
    kept.wait(new, reason="destroys", now=NOW + KEPT_FOR + timedelta(seconds=1))
    assert [one.command.id for one in kept.waiting()] == [new.id]
