"""This file is that pairing is what the vectors in tests/vectors say, by our code and by a reader of the page alone."""

import base64
import hashlib
import hmac
import json
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.identity import Hardware, JoinState
from gateway.identity import joinstate, pairing, tokens, words

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "pairing.json").read_text())


def each(part: str) -> list[Any]:
    return [pytest.param(one, id=one["name"]) for one in DOCUMENT[part]]


@pytest.mark.parametrize("said", each("tokens"))
def test_a_registration_token_says_what_its_vector_says(said: dict[str, Any]) -> None:
    token = tokens.parse(said["text"])
    assert (token.id, token.seed.hex(), token.url, token.repairs) == (
        said["id"],
        said["seed"],
        said["url"],
        said["repairs"],
    )
    assert [pin.hex() for pin in token.pins] == said["pins"]
    assert token.public_key.hex() == said["public_key"]
    assert token.expires_at == datetime.fromtimestamp(said["expires_minutes"] * 60, UTC)
    assert token.text() == said["text"]


@pytest.mark.parametrize("said", each("tokens"))
def test_who_has_only_read_the_page_reads_the_same_in_a_token(said: dict[str, Any]) -> None:
    _, body, checksum = said["text"].split("_", 1)[0], *said["text"].split("_", 1)[1].rsplit("_", 1)
    payload = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    assert base64.b32decode(checksum.upper() + "=") == struct.pack(">I", zlib.crc32(payload))
    minutes, token_id, seed, flags, count = struct.unpack_from(">I10s32sBB", payload)
    assert (minutes, token_id.hex(), seed.hex()) == (said["expires_minutes"], said["id"], said["seed"])
    assert (flags, count) == (int(said["repairs"]), len(said["pins"]))
    assert payload[48:] == b"".join(bytes.fromhex(pin) for pin in said["pins"]) + said["url"].encode()


@pytest.mark.parametrize("said", each("refused_tokens"))
def test_a_damaged_token_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(tokens.TokenMangledError):
        tokens.parse(said["text"])


@pytest.mark.parametrize("said", each("transcripts"))
def test_the_transcript_of_a_pairing_is_what_its_vector_says(said: dict[str, Any]) -> None:
    found = pairing.transcript(
        pairing.Server(said["url"], bytes.fromhex(said["pin"]), said["server_key"]),
        token_id=said["token_id"],
        nonces=(said["appliance_nonce"], said["console_nonce"]),
        device_key=said["device_key"],
        request=said["request"],
        hardware=Hardware.model_validate(said["hardware"]),
    )
    assert found.hex() == said["sha256"]


@pytest.mark.parametrize("said", each("transcripts"))
def test_who_has_only_read_the_page_makes_the_same_transcript(said: dict[str, Any]) -> None:
    hardware = said["hardware"]
    parts = [
        b"private-cloud-gateway pairing 2",
        *(said[name].encode() for name in ("url", "token_id", "appliance_nonce", "console_nonce")),
        bytes.fromhex(said["pin"]),
        bytes.fromhex(said["server_key"]),
        said["device_key"].encode(),
        said["request"].encode(),
        (hardware["system_uuid"] or "").encode(),
        b"tpm" if hardware["device_key_in_tpm"] else b"file",
    ]
    found = hashlib.sha256(b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()
    assert found.hex() == said["sha256"]
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(DOCUMENT["tokens"][0]["seed"]))
    assert base64.b64encode(key.sign(found)).decode() == said["token_signature"]


@pytest.mark.parametrize("said", each("fingerprints"))
def test_a_fingerprint_is_what_its_vector_says(said: dict[str, Any]) -> None:
    assert words.fingerprint(said["device_key"]) == said["words"]


@pytest.mark.parametrize("said", each("join_states"))
def test_the_proof_of_a_join_state_is_what_its_vector_says(said: dict[str, Any]) -> None:
    state, message = JoinState(number=said["number"], ticket=said["ticket"]), bytes.fromhex(said["message"])
    assert joinstate.key_of(state).hex() == said["key"]
    assert joinstate.prove(state, message) == said["proof"]
    assert hashlib.sha256(b"pcg join key 1" + bytes.fromhex(said["ticket"])).hexdigest() == said["key"]
    assert hmac.new(bytes.fromhex(said["key"]), message, hashlib.sha256).hexdigest() == said["proof"]
