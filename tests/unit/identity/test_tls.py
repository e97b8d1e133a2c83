"""This file is the promises of TLS contexts: 1.3 only, no local clock believed on an appliance, nothing resumed."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.identity import authority, keys, tls
from gateway.identity.authority import Authority
from gateway.identity.tls import ConsoleCertificateEndedError

NOW = datetime.now(UTC)  # noqa: TID251 - the TLS library uses the machine's clock


class Side:
    """A console whose certificates were all made at a moment, and an appliance of it."""

    def __init__(self, directory: Path, made: datetime) -> None:
        self.directory = directory
        self.authority = Authority.open(directory / "ca", now=made)
        key = keys.keep(directory / "server.key")
        self.issued = self.authority.sign_server(key.public_key(), ["127.0.0.1"], now=made)
        (directory / "server.pem").write_text(self.issued.pem)
        request = authority.certificate_request(keys.keep(directory / "client.key"))
        (directory / "client.pem").write_text(self.authority.sign_gateway(request, uuid4(), now=made).pem)

    @property
    def server(self) -> ssl.SSLContext:
        return tls.server(self.directory / "server.pem", self.directory / "server.key", clients=self.authority.clients)

    @property
    def pair(self) -> dict[str, Path]:
        return {"certificate": self.directory / "client.pem", "key": self.directory / "client.key"}

    @property
    def shown(self) -> bytes:
        return x509.load_pem_x509_certificate(self.issued.pem.encode()).public_bytes(serialization.Encoding.DER)


def shake(
    client: ssl.SSLContext, server: ssl.SSLContext, name: str = "127.0.0.1"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    down, up = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = client.wrap_bio(down, up, server_hostname=name)
    listening = server.wrap_bio(up, down, server_side=True)
    waiting = [calling, listening]
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    return calling, listening


YEARS = [timedelta(days=-365 * 9), timedelta(0), timedelta(days=365 * 9)]


@pytest.mark.parametrize("ahead", YEARS, ids=["nine years off", "on time", "clock of nine years ago"])
def test_an_appliance_whose_clock_is_wrong_by_years_takes_its_console(tmp_path: Path, ahead: timedelta) -> None:
    console = Side(tmp_path, NOW + ahead)
    open_server = tls.server(tmp_path / "server.pem", tmp_path / "server.key")
    calling, _ = shake(tls.timeless(console.authority.clients), open_server)
    assert calling.version() == "TLSv1.3"


def test_people_do_judge_dates_by_their_clock(tmp_path: Path) -> None:
    console = Side(tmp_path, NOW - timedelta(days=365 * 9))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake(tls.client(console.authority.clients), console.server)


def test_a_console_judges_the_dates_of_an_appliance(tmp_path: Path) -> None:
    console = Side(tmp_path, NOW - timedelta(days=8))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake(tls.timeless(console.authority.clients, **console.pair), console.server)


def test_without_dates_names_and_roots_still_count(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "ours").mkdir()
    console, other = Side(tmp_path / "ours", NOW), Side(tmp_path / "other", NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="issuer"):
        shake(tls.timeless(other.authority.clients, **other.pair), console.server)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake(tls.timeless(console.authority.clients, **console.pair), console.server, "console.example")


def test_a_certificate_that_had_ended_when_the_console_last_told_the_time_is_refused(tmp_path: Path) -> None:
    console = Side(tmp_path, NOW)
    for floor in (None, NOW, NOW + timedelta(days=29)):
        tls.judge_dates(console.shown, floor=floor)
    with pytest.raises(ConsoleCertificateEndedError):
        tls.judge_dates(console.shown, floor=NOW + timedelta(days=31))


def test_a_session_with_a_client_certificate_is_never_resumed(tmp_path: Path) -> None:
    """Who could resume would not be asked for a certificate again, though it has ended or was revoked."""
    console = Side(tmp_path, NOW)
    calling, listening = shake(tls.timeless(console.authority.clients, **console.pair), console.server)
    listening.write(b"x")
    assert calling.read(1) == b"x"
    assert calling.session is None or not calling.session.has_ticket


def test_nothing_older_than_tls_1_3_is_spoken(tmp_path: Path) -> None:
    console = Side(tmp_path, NOW)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_verify_locations(cadata=console.authority.clients)
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        shake(old, tls.server(tmp_path / "server.pem", tmp_path / "server.key"))
