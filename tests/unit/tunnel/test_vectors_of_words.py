"""This file is that preambles, grants and messages are what the vectors in tests/vectors say."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from gateway.contract import messages, streams
from gateway.contract.streams import StreamNotUnderstoodError, StreamPreamble, StreamReply, UserPreamble
from gateway.identity import grants
from gateway.identity.grants import Grant, GrantKey, GrantRefusedError, Grants
from gateway.tunnel.stream import block

VECTORS = Path(__file__).parents[2] / "vectors"
READERS: dict[str, Callable[[bytes], StreamPreamble | UserPreamble | StreamReply]] = {
    "preambles": streams.read_preamble,
    "user_preambles": streams.read_user_preamble,
    "replies": streams.read_reply,
}
ENDS: dict[str, TypeAdapter[Any]] = {
    "from_appliance": messages.from_appliance,
    "from_console": messages.from_console,
}


def vectors(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / file).read_text())
    return found


def each(file: str, *parts: str, prefix: str = "") -> list[Any]:
    document = vectors(file)
    return [
        pytest.param(part, one, id=f"{part}: {one['name']}") for part in parts for one in document[f"{prefix}{part}"]
    ]


@pytest.mark.parametrize(("kind", "vector"), each("streams.json", *READERS))
def test_what_a_stream_begins_with_is_read_and_written_as_it_says(kind: str, vector: dict[str, Any]) -> None:
    content = vector["content"].encode()
    said = READERS[kind](content)
    assert said.model_dump(mode="json", exclude_none=True) == vector["says"]
    assert streams.write(said) == content
    assert block(content).hex() == vector["hex"]


@pytest.mark.parametrize(("_kind", "vector"), each("streams.json", "replies", prefix="tolerated_"))
def test_a_reply_may_say_more_than_we_know(_kind: str, vector: dict[str, Any]) -> None:
    assert streams.read_reply(vector["content"].encode()).status == "ok"


@pytest.mark.attack(10)
@pytest.mark.attack(19)
@pytest.mark.parametrize(("kind", "vector"), each("streams.json", *READERS, prefix="refused_"))
def test_what_no_stream_begins_with_is_refused(kind: str, vector: dict[str, Any]) -> None:
    with pytest.raises(StreamNotUnderstoodError):
        READERS[kind](bytes.fromhex(vector["hex"]))


def test_a_grant_is_signed_as_its_vector_says() -> None:
    said = vectors("grants.json")
    key = GrantKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(said["seed"])))
    assert key.public_text == said["key"]
    assert key.sign(Grant.model_validate_json(said["good"]["payload"])) == said["good"]["text"]


def fresh(said: dict[str, Any]) -> Grants:
    return Grants(grants.read_public(said["key"]))


@pytest.mark.attack(34)
@pytest.mark.parametrize(("_kind", "use"), each("grants.json", "uses"))
def test_a_grant_is_good_where_its_vector_says_and_nowhere_else(_kind: str, use: dict[str, Any]) -> None:
    said = vectors("grants.json")
    where = {"gateway": UUID(use["gateway"]), "target": use["target"], "session": use["session"]}
    now = datetime.fromisoformat(use["now"])
    if use["good"]:
        assert fresh(said).check(said["good"]["text"], **where, now=now).target == use["target"]
    else:
        with pytest.raises(GrantRefusedError):
            fresh(said).check(said["good"]["text"], **where, now=now)


@pytest.mark.attack(34)
@pytest.mark.parametrize(("_kind", "vector"), each("grants.json", "refused"))
def test_what_is_no_grant_is_refused_where_the_real_one_is_good(_kind: str, vector: dict[str, Any]) -> None:
    said = vectors("grants.json")
    use = next(use for use in said["uses"] if use["good"])
    where = {"gateway": UUID(use["gateway"]), "target": use["target"], "session": use["session"]}
    known = fresh(said)
    with pytest.raises(GrantRefusedError):
        known.check(vector["text"], **where, now=datetime.fromisoformat(use["now"]))
    assert known.check(said["good"]["text"], **where, now=datetime.fromisoformat(use["now"])).target == use["target"]


@pytest.mark.parametrize(("end", "vector"), each("messages.json", *ENDS))
def test_a_message_is_understood_and_means_the_same_when_it_is_said_again(end: str, vector: dict[str, Any]) -> None:
    said = ENDS[end].validate_json(json.dumps(vector["message"]))
    assert said.type == vector["message"]["type"]
    assert ENDS[end].validate_json(said.model_dump_json()) == said


@pytest.mark.parametrize(("end", "vector"), each("messages.json", *ENDS, prefix="refused_"))
def test_what_is_no_message_of_an_end_is_refused(end: str, vector: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ENDS[end].validate_json(json.dumps(vector["message"]))
