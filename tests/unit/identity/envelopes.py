"""This file is an envelope that is good, and where it is: tests change one thing about either."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.commands import Command
from gateway.contract.signing import Envelope, Sealed
from gateway.identity import envelope
from gateway.identity.envelope import Expected
from tests.fakes.wishes import WHEN, a_read

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
GATEWAY = UUID(int=7)
COMMAND = a_read()
SECOND = timedelta(seconds=1)


def body(command: Command = COMMAND) -> dict[str, Any]:
    return command.model_dump(mode="json")


def sealed(command: Command = COMMAND, **changed: object) -> Sealed:
    said: dict[str, object] = {
        "gateway_id": GATEWAY,
        "command_id": command.id,
        "seq": 5,
        "kind": command.task.kind,
        "body_sha256": envelope.body_digest(body(command)),
        "not_before": WHEN,
        "expires_at": WHEN + envelope.GOOD_FOR,
    }
    return Sealed.model_validate({**said, **changed})


def an_envelope(command: Command = COMMAND, *, key: Ed25519PrivateKey = KEY, **changed: object) -> Envelope:
    return envelope.seal(sealed(command, **changed), key)


def expected(command: Command = COMMAND, **changed: object) -> Expected:
    said: dict[str, Any] = {
        "gateway": GATEWAY,
        "command_id": command.id,
        "body": body(command),
        "policy": "a" * 64,
        "now": WHEN + 10 * SECOND,
        "doubt": SECOND,
    }
    return Expected(**{**said, **changed})


def judged(
    one: Envelope | None, command: Command = COMMAND, *, now: datetime = WHEN + 10 * SECOND, **changed: object
) -> Sealed:
    return envelope.judge(one, key=envelope.public_text(KEY), expected=expected(command, now=now, **changed))
