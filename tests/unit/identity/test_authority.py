"""This file is the promises of the certificate authority."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.identity import authority, keys
from gateway.identity.authority import Authority, RequestRefusedError

NOW = datetime.now(UTC)  # noqa: TID251 - openssl below uses the machine's clock


def test_an_authority_opened_again_is_the_same(tmp_path: Path) -> None:
    assert Authority.open(tmp_path / "ca", now=NOW).pin == Authority.open(tmp_path / "ca", now=NOW).pin


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    Authority.open(tmp_path / "ca", now=NOW)
    assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700
    secret = list((tmp_path / "ca").glob("*.key"))
    assert len(secret) == 2
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}


@pytest.mark.parametrize("purpose", ["sslclient", "sslserver"])
def test_openssl_finds_nothing_to_complain_of(tmp_path: Path, purpose: str) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    key = keys.new_key()
    if purpose == "sslclient":
        issued = ours.sign_gateway(authority.certificate_request(key), uuid4(), now=NOW)
    else:
        issued = ours.sign_server(key.public_key(), ["console.example", "127.0.0.1", "::1"], now=NOW)
    (tmp_path / "leaf.pem").write_text(issued.pem)
    (tmp_path / "ca.pem").write_text(ours.root)
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        purpose,
        "-CAfile",
        "ca.pem",
        "-untrusted",
        "leaf.pem",
        "leaf.pem",
    ]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)


def test_a_certificate_names_its_gateway(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    gateway = uuid4()
    issued = ours.sign_gateway(authority.certificate_request(keys.new_key()), gateway, now=NOW)
    der = x509.load_pem_x509_certificate(issued.pem.encode()).public_bytes(serialization.Encoding.DER)
    assert authority.gateway_of(der) == (gateway, issued.serial)


def test_a_certificate_without_a_gateway_is_refused(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    pem = ours.sign_server(keys.new_key().public_key(), ["console.example"], now=NOW).pem
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    with pytest.raises(RequestRefusedError):
        authority.gateway_of(der)


def test_a_damaged_request_is_refused(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    lines = authority.certificate_request(keys.new_key()).splitlines()
    lines[3] = lines[3][::-1]
    for request in ("", "rubbish", "\n".join(lines)):
        with pytest.raises(RequestRefusedError):
            ours.sign_gateway(request, uuid4(), now=NOW)
