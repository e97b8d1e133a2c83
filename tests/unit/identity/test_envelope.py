"""This file is the promises of a command's envelope: good for one command, as it was said, at one gateway, soon."""

import base64
import itertools
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.contract.signing import PAYLOAD_TYPE, CommandKeys, Envelope, EnvelopeSignature, HandingOn, Sealed
from gateway.identity import envelope
from gateway.identity.envelope import (
    REFUSALS,
    EnvelopeBodyError,
    EnvelopeForOtherError,
    EnvelopeInvalidError,
    EnvelopeKeyError,
    EnvelopePolicyError,
    EnvelopeTimeError,
    Expected,
    KeysDoNotFollowError,
    NotSignedError,
)
from gateway.kit.errors import GatewayError
from gateway.kit.strictjson import write_canonical_json
from tests.fakes.wishes import WHEN, a_delete, a_read
from tests.unit.identity.envelopes import (
    COMMAND,
    KEY,
    OTHER_KEY,
    SECOND,
    an_envelope,
    body,
    judged,
    sealed,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "envelopes.json").read_text())
PUBLIC = envelope.public_text(KEY)


def signed(payload: bytes, *, kind: str = PAYLOAD_TYPE, key: Ed25519PrivateKey = KEY, keyid: str = PUBLIC) -> Envelope:
    """Return an envelope around any bytes, signed well."""
    signature = base64.b64encode(key.sign(envelope.encoding(kind, payload))).decode()
    text = base64.b64encode(payload).decode()
    return Envelope(payload_type=kind, payload=text, signatures=[EnvelopeSignature(keyid=keyid, sig=signature)])


def test_what_the_console_signed_is_taken() -> None:
    assert judged(an_envelope()) == sealed()


def test_the_encoding_is_that_of_dsse() -> None:
    assert envelope.encoding("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.attack(21)
def test_a_command_without_an_envelope_is_refused() -> None:
    with pytest.raises(NotSignedError):
        judged(None)
    with pytest.raises(ValidationError):
        Envelope(payload_type=PAYLOAD_TYPE, payload="e30=", signatures=[])


@pytest.mark.attack(21)
def test_another_keys_signature_is_refused_whatever_it_calls_itself() -> None:
    with pytest.raises(EnvelopeKeyError):
        judged(an_envelope(key=OTHER_KEY))
    with pytest.raises(EnvelopeKeyError):
        judged(signed(write_canonical_json(sealed().model_dump(mode="json")), key=OTHER_KEY))


@pytest.mark.attack(21)
def test_one_of_several_signatures_is_enough_if_it_is_of_the_key_that_is_known() -> None:
    assert judged(envelope.seal(sealed(), OTHER_KEY, KEY)) == sealed()


@pytest.mark.attack(21)
def test_an_envelope_for_another_gateway_or_command_is_refused() -> None:
    for one in (an_envelope(gateway_id=uuid4()), an_envelope(command_id=uuid4())):
        with pytest.raises(EnvelopeForOtherError):
            judged(one)
    inner = body() | {"id": str(uuid4())}
    with pytest.raises(EnvelopeForOtherError):
        judged(an_envelope(), body=inner)


@pytest.mark.attack(21)
def test_the_same_id_with_another_body_is_refused() -> None:
    other = a_delete(uuid4())
    changed = [body() | {"author": "mallory"}, body() | {"more": 1}, body() | {"task": body(other)["task"]}]
    for one in [*changed, {"id": str(COMMAND.id)}, {"id": str(COMMAND.id), "task": "delete"}]:
        with pytest.raises(EnvelopeBodyError):
            judged(an_envelope(), body=one)
    with pytest.raises(EnvelopeBodyError):
        judged(an_envelope(kind="cluster.delete"))


@pytest.mark.attack(21)
def test_a_body_that_cannot_be_written_in_one_way_is_refused() -> None:
    with pytest.raises(EnvelopeBodyError):
        judged(an_envelope(), body=body() | {"more": float("nan")})


@pytest.mark.attack(21)
def test_an_envelope_made_under_another_policy_is_refused_and_one_that_claims_none_is_not() -> None:
    assert judged(an_envelope(policy_hash="a" * 64)).policy_hash == "a" * 64
    assert judged(an_envelope(), policy=None).policy_hash is None
    for there in ("b" * 64, None):
        with pytest.raises(EnvelopePolicyError):
            judged(an_envelope(policy_hash="a" * 64), policy=there)


@pytest.mark.attack(21)
@pytest.mark.parametrize(
    ("after", "good"), [(-1.1, False), (-0.9, True), (0, True), (120.9, True), (121, False), (10**7, False)]
)
def test_an_envelope_is_good_for_its_time_by_the_consoles_clock_give_or_take_the_doubt(
    after: float, good: bool
) -> None:
    now = WHEN + timedelta(seconds=after)
    if good:
        assert judged(an_envelope(), now=now)
        return
    with pytest.raises(EnvelopeTimeError):
        judged(an_envelope(), now=now)


@pytest.mark.attack(21)
def test_however_great_the_doubt_it_is_a_minute_at_most() -> None:
    with pytest.raises(EnvelopeTimeError):
        judged(an_envelope(), now=WHEN + 181 * SECOND, doubt=timedelta(days=365))


@pytest.mark.attack(21)
@pytest.mark.parametrize("lasts", [timedelta(minutes=11), timedelta(0), -SECOND])
def test_an_envelope_that_is_good_for_too_long_or_never_is_refused(lasts: timedelta) -> None:
    with pytest.raises(EnvelopeInvalidError):
        judged(an_envelope(expires_at=WHEN + lasts))


@pytest.mark.attack(21)
def test_nothing_in_the_envelope_chooses_how_it_is_checked() -> None:
    payload = write_canonical_json(sealed().model_dump(mode="json"))
    with pytest.raises(EnvelopeInvalidError):
        judged(signed(payload, kind="application/vnd.in-toto+json"))
    raw = KEY.sign(payload)  # over the bytes alone, as a scheme without the type would
    bare = Envelope(
        payload_type=PAYLOAD_TYPE,
        payload=base64.b64encode(payload).decode(),
        signatures=[EnvelopeSignature(keyid=PUBLIC, sig=base64.b64encode(raw).decode())],
    )
    with pytest.raises(EnvelopeKeyError):
        judged(bare)
    public_as_secret = base64.b64encode(PUBLIC.encode()).decode()
    for sig in ("", public_as_secret, base64.b64encode(bytes(64)).decode()):
        one = bare.model_copy(update={"signatures": [EnvelopeSignature(keyid=PUBLIC, sig=sig)]})
        with pytest.raises(EnvelopeKeyError):
            judged(one)
    with pytest.raises(ValidationError):
        EnvelopeSignature(keyid="none", sig="")


@pytest.mark.attack(21)
def test_what_is_signed_says_all_it_has_to_say_and_nothing_else() -> None:
    good = sealed().model_dump(mode="json")
    texts = [b"{}", b"[]", b"null", b'{"seq":1,"seq":2}', b"\xff", b" " * 5000]
    texts += [
        write_canonical_json({k: v for k, v in good.items() if k != left}) for left in good if left != "policy_hash"
    ]
    texts += [write_canonical_json(good | {"alg": "none"}), write_canonical_json(good | {"seq": "5"})]
    texts += [write_canonical_json(good | {"seq": 0})]
    for payload in texts:
        with pytest.raises((EnvelopeInvalidError, ValidationError)):
            judged(signed(payload))


@pytest.mark.attack(21)
@given(st.data())
def test_an_envelope_with_anything_changed_is_refused(data: st.DataObject) -> None:
    one = an_envelope()
    where = data.draw(st.sampled_from(["payload", "sig", "payload_type"]))
    text = one.signatures[0].sig if where == "sig" else getattr(one, where)
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019+/=-_ \n"))
    if text[at] == letter:
        return
    text = text[:at] + letter + text[at + 1 :]
    signatures = [one.signatures[0].model_copy(update={"sig": text})]
    changed = one.model_copy(update={"signatures": signatures} if where == "sig" else {where: text})
    with pytest.raises(REFUSALS):
        judged(changed)


@pytest.mark.attack(21)
@given(
    st.builds(uuid4) | st.just(COMMAND.id),
    st.integers(1, 2**40),
    st.sampled_from(["a" * 64, "b" * 64, None]),
    st.integers(-300, 300),
    st.integers(-10, 700),
)
def test_whatever_is_signed_is_let_through_only_where_it_fits_in_everything(
    command: UUID, seq: int, policy: str | None, begins: int, lasts: int
) -> None:
    changed = {"command_id": command, "seq": seq, "policy_hash": policy}
    changed |= {"not_before": WHEN + begins * SECOND, "expires_at": WHEN + (begins + lasts) * SECOND}
    fits = command == COMMAND.id and policy in {"a" * 64, None} and 0 < lasts <= 600
    fits = fits and begins <= 11 and begins + lasts > 9
    try:
        found: Sealed | None = judged(an_envelope(**changed))
    except GatewayError:
        found = None
    assert (found is not None) == fits


def test_an_appliance_follows_the_keys_from_the_one_it_has_to_the_present_one() -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(4)]
    handings = [envelope.hand_on(a, b) for a, b in itertools.pairwise(keys)]
    told = CommandKeys(key=envelope.public_text(keys[3]), handings=handings)
    for one in keys:
        assert envelope.follow(envelope.public_text(one), told) == told.key


@pytest.mark.attack(21)
def test_a_key_that_nobody_before_it_has_vouched_for_is_not_followed() -> None:
    first, second, mallory = (Ed25519PrivateKey.generate() for _ in range(3))
    good = envelope.hand_on(first, second)
    forged = HandingOn(
        follows=good.follows, key=envelope.public_text(mallory), signature=envelope.hand_on(mallory, mallory).signature
    )
    swapped = good.model_copy(update={"key": envelope.public_text(mallory)})
    for handings in ([], [forged], [swapped], [envelope.hand_on(mallory, mallory)], [good]):
        told = CommandKeys(key=envelope.public_text(mallory), handings=handings)
        with pytest.raises(KeysDoNotFollowError):
            envelope.follow(envelope.public_text(first), told)
    back = CommandKeys(key=envelope.public_text(first), handings=[good])
    with pytest.raises(KeysDoNotFollowError):  # it goes one way only
        envelope.follow(envelope.public_text(second), back)


def where(said: dict[str, Any]) -> Expected:
    return Expected(
        gateway=UUID(said["gateway"]),
        command_id=UUID(said["command_id"]),
        body=said["body"],
        policy=said["policy"],
        now=datetime.fromisoformat(said["now"]),
        doubt=timedelta(0),
    )


def test_an_envelope_is_made_as_its_vector_says() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["seed"]))
    assert envelope.public_text(key) == VECTORS["key"]
    made = envelope.seal(Sealed.model_validate_json(VECTORS["payload"]), key)
    assert made.model_dump(mode="json") == VECTORS["good"]["envelope"]
    assert envelope.encoding(PAYLOAD_TYPE, VECTORS["payload"].encode()).hex() == VECTORS["signed"]


@pytest.mark.attack(21)
@pytest.mark.parametrize("vector", [VECTORS["good"], *VECTORS["refused"]], ids=lambda one: one["name"])
def test_an_envelope_is_judged_as_its_vector_says(vector: dict[str, Any]) -> None:
    found = Envelope.model_validate(vector["envelope"]) if vector["envelope"] else None
    expected = where(VECTORS["where"] | vector.get("where", {}))
    if vector["code"] is None:
        assert envelope.judge(found, key=VECTORS["key"], expected=expected).seq == 5
        return
    with pytest.raises(GatewayError) as caught:
        envelope.judge(found, key=VECTORS["key"], expected=expected)
    assert caught.value.code == vector["code"]


def test_another_command_has_another_digest() -> None:
    assert envelope.body_digest(body(a_read())) != envelope.body_digest(body())
