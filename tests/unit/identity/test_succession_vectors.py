"""This file is that successions are what the vectors in tests/vectors say: by our code, by openssl and by the page."""

import base64
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.trust import Succession, Successions, TrustBundle
from gateway.identity import succession
from gateway.identity.succession import SuccessionBrokenError

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "successions.json").read_text())
ROOTS: list[str] = DOCUMENT["roots"]


def named(vector: dict[str, Any]) -> str:
    return str(vector.get("name", f"{vector.get('follows')} to {vector.get('root')}"))


@pytest.mark.parametrize("case", DOCUMENT["cases"], ids=named)
def test_what_may_be_trusted_is_what_the_vector_says(case: dict[str, Any]) -> None:
    trust = TrustBundle(version=9, roots=[ROOTS[number] for number in case["offered"]])
    said = Successions(steps=[Succession.model_validate(step) for step in case["steps"]], trust=trust)
    trusted = [ROOTS[number] for number in case["trusted"]]
    if case["followed"] is None:
        with pytest.raises(SuccessionBrokenError):
            succession.follow(trusted, said)
    else:
        assert succession.follow(trusted, said).roots == [ROOTS[number] for number in case["followed"]]


@pytest.mark.parametrize("statement", DOCUMENT["statements"], ids=named)
def test_a_reader_of_the_page_alone_gets_the_same_and_openssl_finds_it_signed(
    tmp_path: Path, statement: dict[str, Any]
) -> None:
    follows, root = ROOTS[statement["follows"]], ROOTS[statement["root"]]
    der = openssl(["x509", "-outform", "DER"], root.encode())
    parts = [b"private-cloud-gateway root succession 1", pin(follows), pin(root), der]
    message = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
    assert message.hex() == statement["sha256"]
    (tmp_path / "key.pem").write_bytes(openssl(["x509", "-pubkey", "-noout"], follows.encode()))
    (tmp_path / "signature").write_bytes(base64.b64decode(statement["signature"]))
    checked = ["dgst", "-sha256", "-verify", str(tmp_path / "key.pem"), "-signature", str(tmp_path / "signature")]
    assert openssl(checked, message) == b"Verified OK\n"


def pin(root: str) -> bytes:
    key = openssl(["x509", "-pubkey", "-noout"], root.encode())
    return hashlib.sha256(openssl(["pkey", "-pubin", "-outform", "DER"], key)).digest()


def openssl(words: list[str], said: bytes) -> bytes:
    return subprocess.run(["openssl", *words], input=said, check=True, capture_output=True).stdout
