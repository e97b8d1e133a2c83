"""This file is what the strictest readers of certificates say of ours, in each phase of a rotation."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.identity import authority, certificates, keys
from gateway.identity.authority import Authority
from tests.unit.identity import strict

NOW = datetime.now(UTC)  # noqa: TID251 - the readers below use the machine's clock
PHASES = ["steady", "handed on", "settling", "retired"]


class Papers:
    """Trust, console and appliance as files, as they are in a phase of a rotation."""

    def __init__(self, directory: Path, phase: str) -> None:
        self.directory = directory
        ours = Authority.open(directory / "ca", now=NOW)
        for step in (lambda: ours.hand_on(now=NOW), lambda: ours.promote(now=NOW), ours.retire)[: PHASES.index(phase)]:
            step()
        (directory / "trust.pem").write_text(ours.clients)
        (directory / "intermediate.pem").write_text(certificates.pem(ours.chain[-1]))
        key = keys.keep(directory / "server.key")
        hosts = ["console.example", "127.0.0.1", "::1"]
        (directory / "server.pem").write_text(ours.sign_server(key.public_key(), hosts, now=NOW).pem)
        request = authority.certificate_request(keys.keep(directory / "client.key"))
        (directory / "client.pem").write_text(ours.sign_gateway(request, uuid4(), now=NOW).pem)

    @property
    def names(self) -> list[str]:
        names = ("trust.pem", "server.pem", "server.key", "client.pem", "client.key")
        return [str(self.directory / name) for name in names]

    def openssl(self, leaf: str, *purpose: str) -> None:
        chain = ["-CAfile", "trust.pem", "-untrusted", leaf, leaf]
        command = ["openssl", "verify", "-x509_strict", "-verify_depth", "2", *purpose, *chain]
        done = subprocess.run(command, check=False, cwd=self.directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture(params=PHASES)
def papers(tmp_path: Path, request: pytest.FixtureRequest) -> Papers:
    return Papers(tmp_path, request.param)


def test_openssl_at_its_strictest_takes_every_certificate(papers: Papers) -> None:
    papers.openssl("server.pem", "-purpose", "sslserver", "-verify_hostname", "console.example")
    papers.openssl("server.pem", "-purpose", "sslserver", "-verify_ip", "::1")
    papers.openssl("client.pem", "-purpose", "sslclient")
    papers.openssl("intermediate.pem", "-purpose", "any")


@pytest.mark.parametrize(("leaf", "purpose"), [("server.pem", "sslclient"), ("client.pem", "sslserver")])
def test_no_certificate_is_good_for_the_other_end(tmp_path: Path, leaf: str, purpose: str) -> None:
    with pytest.raises(AssertionError, match=r"(?i)purpose"):
        Papers(tmp_path, "steady").openssl(leaf, "-purpose", purpose)


def test_both_ends_take_each_other_with_the_strict_flags(papers: Papers) -> None:
    trust, *pairs = papers.names
    assert strict.shake(trust, (pairs[0], pairs[1]), (pairs[2], pairs[3])) == "TLSv1.3"


def python_3_13() -> str | None:
    installed = sorted(map(str, Path.home().glob(".pyenv/versions/3.13.*/bin/python3.13")))
    for found in (shutil.which("python3.13"), *installed):
        if found and subprocess.run([found, "-V"], check=False, capture_output=True).returncode == 0:
            return found
    return None


def test_both_ends_take_each_other_with_the_defaults_of_python_3_13(papers: Papers) -> None:
    python = python_3_13()
    if python is None:
        pytest.skip("no python3.13 here; the flags themselves are tested above")
    command = [python, "-I", str(Path(strict.__file__)), *papers.names]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("TLSv1.3", "")


def test_an_intermediate_cannot_sign_another(tmp_path: Path) -> None:
    """What a thief of the intermediate's key could try: an authority of his own below it."""
    papers = Papers(tmp_path, "steady")
    ours = Authority.open(tmp_path / "ca", now=NOW)
    (key,) = (tmp_path / "ca").glob("intermediate-*.key")
    thief = certificates.Signer(ours.chain[-1], keys.read(key))
    own = keys.new_key()
    second = certificates.intermediate(own.public_key(), thief, now=NOW)
    forged = certificates.for_gateway(keys.new_key().public_key(), uuid4(), certificates.Signer(second, own), now=NOW)
    (tmp_path / "forged.pem").write_text("".join(map(certificates.pem, (forged, second, ours.chain[-1]))))
    with pytest.raises(AssertionError, match="path length"):
        papers.openssl("forged.pem")
