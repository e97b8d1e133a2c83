"""This file shows that what is sealed to a gateway opens there, as what it was sealed as, and nowhere else."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.accounts import SealedAccount, SealingKey
from gateway.identity import devicekeys, sealing
from gateway.identity.sealing import CannotOpenError, Label, PrivateSealingKey, SealingKeyWrongError
from tests.fakes.wishes import WHEN

GATEWAY = UUID(int=7)
DEVICE = devicekeys.new()
LABEL = Label(GATEWAY, "prod", "vsphere", 3)
SECRET = b"what nobody else may read"
SUITES = (sealing.HYBRID, sealing.CLASSICAL)
PRIVATE = {suite: PrivateSealingKey.new(WHEN, suite=suite) for suite in SUITES}
PUBLIC = {suite: PRIVATE[suite].vouched(GATEWAY, DEVICE) for suite in SUITES}
each_suite = pytest.mark.parametrize("suite", SUITES)


def a_sealed(suite: str = sealing.HYBRID) -> SealedAccount:
    return sealing.seal(PUBLIC[suite], LABEL, SECRET)


@each_suite
@given(st.binary(max_size=sealing.MOST_CONTENT))
def test_what_is_sealed_opens_as_it_was(suite: str, content: bytes) -> None:
    sealed = sealing.seal(PUBLIC[suite], LABEL, content)
    assert PRIVATE[suite].open(sealed.sealed, sealing.label_of(sealed, GATEWAY)) == content


def test_the_hybrid_is_what_a_gateway_takes_when_its_library_has_it() -> None:
    assert PrivateSealingKey.new(WHEN).suite == sealing.HYBRID


@each_suite
def test_a_key_that_was_kept_opens_what_was_sealed_before(suite: str) -> None:
    kept = sealing.KeptKey.model_validate_json(PRIVATE[suite].kept().model_dump_json())
    assert PrivateSealingKey.read(kept).open(a_sealed(suite).sealed, LABEL) == SECRET


@pytest.mark.attack(28)
def test_a_key_never_shows_itself() -> None:
    raw = PRIVATE[sealing.HYBRID].kept().private.get_secret_value()
    shown = f"{PRIVATE[sealing.HYBRID]!r} {PRIVATE[sealing.HYBRID].kept()!r}"
    assert raw not in shown
    assert repr(base64.b64decode(raw))[2:20] not in shown


@each_suite
@pytest.mark.parametrize(
    "other",
    [
        LABEL._replace(gateway=UUID(int=8)),
        LABEL._replace(name="test"),
        LABEL._replace(kind="other"),
        LABEL._replace(version=2),
        LABEL._replace(version=4),
        LABEL._replace(name="prod3", version=3),
    ],
)
def test_it_opens_as_nothing_but_what_it_was_sealed_as(suite: str, other: Label) -> None:
    with pytest.raises(CannotOpenError):
        PRIVATE[suite].open(a_sealed(suite).sealed, other)


@each_suite
def test_another_gateway_cannot_open_it(suite: str) -> None:
    with pytest.raises(CannotOpenError):
        PrivateSealingKey.new(WHEN, suite=suite).open(a_sealed(suite).sealed, LABEL)


@given(st.data())
def test_no_byte_of_it_can_be_changed(data: st.DataObject) -> None:
    sealed = bytearray(base64.b64decode(a_sealed().sealed))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CannotOpenError):
        PRIVATE[sealing.HYBRID].open(base64.b64encode(sealed).decode(), LABEL)


@each_suite
@pytest.mark.parametrize("cut", [0, 1, 4, 100])
def test_a_piece_of_it_does_not_open(suite: str, cut: int) -> None:
    with pytest.raises(CannotOpenError):
        PRIVATE[suite].open(a_sealed(suite).sealed[:cut], LABEL)


def test_its_length_does_not_tell_that_of_the_password() -> None:
    lengths = {len(sealing.seal(PUBLIC[sealing.HYBRID], LABEL, bytes(size)).sealed) for size in range(100, 500, 20)}
    assert len(lengths) == 1


def test_what_is_too_large_is_refused_before_it_is_sealed() -> None:
    with pytest.raises(sealing.ContentTooLargeError):
        sealing.seal(PUBLIC[sealing.HYBRID], LABEL, bytes(sealing.MOST_CONTENT + 1))


@each_suite
def test_a_key_that_its_device_vouches_for_is_believed(suite: str) -> None:
    sealing.check(PUBLIC[suite], GATEWAY)


Twist = Callable[[SealingKey], SealingKey]
OTHER = PrivateSealingKey.new(WHEN).vouched(GATEWAY, devicekeys.new())
TWISTS: dict[str, Twist] = {
    "another public key": lambda key: key.model_copy(update={"public": OTHER.public}),
    "another public key with its id": lambda key: key.model_copy(update={"public": OTHER.public, "id": OTHER.id}),
    "another id": lambda key: key.model_copy(update={"id": OTHER.id}),
    "another moment": lambda key: key.model_copy(update={"made_at": WHEN + timedelta(microseconds=1)}),
    "another suite": lambda key: key.model_copy(update={"suite": sealing.CLASSICAL}),
    "another device key": lambda key: key.model_copy(update={"device_key": OTHER.device_key}),
    "another signature": lambda key: key.model_copy(update={"signature": OTHER.signature}),
    "no device key": lambda key: key.model_copy(update={"device_key": "no key"}),
    "no base64": lambda key: key.model_copy(update={"public": "A"}),
    "another spelling": lambda key: key.model_copy(update={"public": key.public[:-2] + "B="}),
}


@pytest.mark.parametrize("twist", TWISTS)
def test_a_key_that_was_tampered_with_is_not_sealed_to(twist: str) -> None:
    with pytest.raises(SealingKeyWrongError):
        sealing.check(TWISTS[twist](PUBLIC[sealing.HYBRID]), GATEWAY)


def test_a_key_of_another_gateway_is_not_sealed_to() -> None:
    with pytest.raises(SealingKeyWrongError):
        sealing.check(PUBLIC[sealing.HYBRID], UUID(int=8))


def test_a_suite_that_is_not_known_is_said_to_need_an_update() -> None:
    strange = PUBLIC[sealing.HYBRID]
    message = sealing._key_message(GATEWAY, "KYBER/9", base64.b64decode(strange.public), WHEN)
    signature = base64.b64encode(DEVICE.sign(message)).decode()
    with pytest.raises(SealingKeyWrongError, match="update"):
        sealing.check(strange.model_copy(update={"suite": "KYBER/9", "signature": signature}), GATEWAY)


SAID = json.loads((Path(__file__).parents[2] / "vectors" / "sealing.json").read_text())
OPENS = {one["name"]: one for one in SAID["opens"]}


def key_of(vector: dict[str, Any]) -> PrivateSealingKey:
    key = vector["key"]
    return PrivateSealingKey.read(
        sealing.KeptKey(suite=key["suite"], private=vector["private"], made_at=key["made_at"])
    )


@pytest.mark.parametrize("name", OPENS)
def test_the_vectors_of_the_page_open(name: str) -> None:
    vector = OPENS[name]
    gateway, key = UUID(vector["gateway"]), SealingKey.model_validate(vector["key"])
    account = SealedAccount.model_validate(vector["account"])
    sealing.check(key, gateway)
    label = sealing.label_of(account, gateway)
    assert label.info(key.suite).hex() == vector["info"]
    assert key_of(vector).id == key.id == account.key_id
    assert key_of(vector).open(account.sealed, label) == base64.b64decode(vector["content"])


@pytest.mark.parametrize("vector", SAID["refused"], ids=lambda one: one["name"])
def test_the_vectors_that_are_refused_stay_shut(vector: dict[str, Any]) -> None:
    source = OPENS[vector["of"]]
    account = SealedAccount.model_validate(vector["account"])
    with pytest.raises(CannotOpenError):
        key_of(source).open(account.sealed, sealing.label_of(account, UUID(source["gateway"])))
