"""This file is a command's envelope: signed at the console, judged at the appliance; no clock, no disk.

::

    encoding    "DSSEv1" SP len(type) SP type SP len(payload) SP payload        (DSSE v1, pre-authentication encoding)
    signature   Ed25519 over the encoding, by the one key that the appliance keeps

    signed by that key? -> for this gateway, this id, this kind, this body? -> this policy? -> its time?

There is one kind of signature and nothing in the envelope chooses another: what it calls its key is only looked up.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from gateway.contract.signing import (
    PAYLOAD_LIMIT,
    PAYLOAD_TYPE,
    CommandKeys,
    Envelope,
    EnvelopeSignature,
    HandingOn,
    Sealed,
)
from gateway.kit.errors import GatewayError, Remedy
from gateway.kit.strictjson import NotStrictJsonError, parse_strict_json, write_canonical_json

GOOD_FOR = timedelta(minutes=2)
"""For how long an envelope is made; each delivery has its own."""
LONGEST = timedelta(minutes=10)
"""For how long one may be good at most."""
MOST_DOUBT = timedelta(seconds=60)
"""How far the appliance's idea of the console's time may be off before it is taken for that far and no further."""
HANDING = b"pcg command key handing 1\x00"
KEY_BYTES, SIGNATURE_BYTES = 32, 64


class NotSignedError(GatewayError):
    """A command came without an envelope."""

    code = "envelope.missing"
    remedy = Remedy.OPERATOR


class EnvelopeInvalidError(GatewayError):
    """An envelope cannot be read, or holds what no envelope of a command holds."""

    code = "envelope.invalid"
    remedy = Remedy.DEVELOPER


class EnvelopeKeyError(GatewayError):
    """No signature of the envelope is of the key that this appliance knows its console by, or it does not hold."""

    code = "envelope.not_signed"
    remedy = Remedy.OPERATOR


class EnvelopeForOtherError(GatewayError):
    """An envelope is for another gateway, or for another command."""

    code = "envelope.for_other"
    remedy = Remedy.OPERATOR


class EnvelopeBodyError(GatewayError):
    """What a command says is not what was signed."""

    code = "envelope.other_body"
    remedy = Remedy.OPERATOR


class EnvelopePolicyError(GatewayError):
    """The command was made under another policy than the site has now."""

    code = "envelope.other_policy"
    remedy = Remedy.CALLER


class EnvelopeTimeError(GatewayError):
    """An envelope is over, or not good yet, by the console's time."""

    code = "envelope.expired"
    remedy = Remedy.RETRY


class KeysDoNotFollowError(GatewayError):
    """The console's command key does not follow from the one that this appliance keeps."""

    code = "envelope.key_does_not_follow"
    remedy = Remedy.OPERATOR


REFUSALS = (
    NotSignedError,
    EnvelopeInvalidError,
    EnvelopeKeyError,
    EnvelopeForOtherError,
    EnvelopeBodyError,
    EnvelopePolicyError,
)
"""What a command is refused for, whenever it comes."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an envelope has to be for: the delivered command as it came, and who and when it is here."""

    gateway: UUID
    command_id: UUID
    body: Mapping[str, Any]
    policy: str | None
    now: datetime
    doubt: timedelta


def encoding(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed of a payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def body_digest(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that a command says."""
    return hashlib.sha256(write_canonical_json(body)).hexdigest()


def seal(sealed: Sealed, *keys: Ed25519PrivateKey) -> Envelope:
    """Return the envelope of a command, signed by each of `keys`."""
    payload = write_canonical_json(sealed.model_dump(mode="json"))
    signable = encoding(PAYLOAD_TYPE, payload)
    signatures = [EnvelopeSignature(keyid=public_text(one), sig=_standard(one.sign(signable))) for one in keys]
    return Envelope(payload_type=PAYLOAD_TYPE, payload=_standard(payload), signatures=signatures)


def judge(envelope: Envelope | None, *, key: str, expected: Expected) -> Sealed:
    """Return what `key` has signed of a command. Raises the error of the first thing that is wrong with it."""
    if envelope is None:
        raise NotSignedError("the command is not signed: its envelope was taken off on the way, or never made")
    sealed = _read(_verified(envelope, key))
    named = (expected.gateway, expected.command_id, str(expected.command_id))
    if (sealed.gateway_id, sealed.command_id, expected.body.get("id")) != named:
        raise EnvelopeForOtherError("the command's envelope was made for another gateway or another command")
    task = expected.body.get("task")
    if not isinstance(task, Mapping) or task.get("kind") != sealed.kind or _digest(expected) != sealed.body_sha256:
        raise EnvelopeBodyError("the command says something else than what was signed")
    if sealed.policy_hash is not None and sealed.policy_hash != expected.policy:
        raise EnvelopePolicyError("the site's policy has changed since the command was made: send the wish again")
    _judge_time(sealed, expected)
    return sealed


def hand_on(before: Ed25519PrivateKey, after: Ed25519PrivateKey) -> HandingOn:
    """Return the word of a key that another follows it."""
    key = public_text(after)
    signature = before.sign(_handing(public_text(before), key))
    return HandingOn(follows=public_text(before), key=key, signature=_urlsafe(signature))


def follow(known: str, told: CommandKeys) -> str:
    """Return the console's present key, if it follows from the known one. Raises KeysDoNotFollowError."""
    reached = known
    for step in told.handings:
        if step.follows == reached and _holds(step):
            reached = step.key
    if reached != told.key:
        raise KeysDoNotFollowError(
            "the console signs commands with a key that does not follow from the one this appliance keeps: was the "
            "console restored from an older copy? Bring its newest command-keys back, or pair the appliance anew with "
            "a token of pcg gateway repair-token"
        )
    return reached


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public half of a key as it is told."""
    return _urlsafe(key.public_key().public_bytes_raw())


def _verified(envelope: Envelope, key: str) -> bytes:
    if envelope.payload_type != PAYLOAD_TYPE:
        raise EnvelopeInvalidError("the envelope holds something else than a command")
    payload = _bytes(envelope.payload)
    signable = encoding(envelope.payload_type, payload)
    # Not any signature of it: the one that says it is of this key, and is.
    for one in envelope.signatures:
        if one.keyid == key and _is_signed(key, _bytes(one.sig), signable):
            return payload
    raise EnvelopeKeyError(
        "the command is not signed by the key that this appliance knows its console by: it was changed on the way, or "
        "comes from elsewhere"
    )


def _read(payload: bytes) -> Sealed:
    try:
        parse_strict_json(payload, limit=PAYLOAD_LIMIT, depth=1)
        return Sealed.model_validate_json(payload)
    except (NotStrictJsonError, ValidationError):
        raise EnvelopeInvalidError("the envelope says something that no command's envelope says") from None


def _digest(expected: Expected) -> str:
    try:
        return body_digest(expected.body)
    except (ValueError, RecursionError):
        return ""


def _judge_time(sealed: Sealed, expected: Expected) -> None:
    doubt = min(expected.doubt, MOST_DOUBT)
    if not timedelta(0) < sealed.expires_at - sealed.not_before <= LONGEST:
        raise EnvelopeInvalidError(f"an envelope is good for at most {LONGEST.seconds // 60} minutes")
    if expected.now - doubt >= sealed.expires_at:
        raise EnvelopeTimeError("the command's envelope is over by the console's time: it was held back on the way")
    if expected.now + doubt < sealed.not_before:
        raise EnvelopeTimeError("the command's envelope is not good yet, by the console's time")


def _holds(step: HandingOn) -> bool:
    try:
        return _is_signed(step.follows, _unsafe(step.signature), _handing(step.follows, step.key))
    except ValueError:
        return False


def _handing(follows: str, key: str) -> bytes:
    return HANDING + follows.encode() + b" " + key.encode()


def _is_signed(key: str, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(_unsafe(key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _standard(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    """Return what base64 stands for, spelled in the one way that it is written. Raises EnvelopeInvalidError."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    if _standard(content) != text:
        raise EnvelopeInvalidError("the envelope holds what is no base64")
    return content


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _unsafe(text: str) -> bytes:
    content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _urlsafe(content) != text:
        raise ValueError("not canonical")
    return content
