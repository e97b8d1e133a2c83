"""This file is the promises of addresses: an API key is sent over https only, to the host that was named."""

from pathlib import Path

import pytest

from gateway.cli import address, session
from gateway.cli.address import AddressInvalidError
from gateway.cli.session import Session


@pytest.mark.parametrize(
    ("text", "address_of"),
    [
        ("https://console.example.com", "https://console.example.com"),
        ("https://console.example.com:8443/", "https://console.example.com:8443"),
        ("HTTPS://Console:443", "https://console:443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        (" https://10.0.0.1:8443\n", "https://10.0.0.1:8443"),
    ],
)
def test_a_host_and_perhaps_a_port_are_an_address(text: str, address_of: str) -> None:
    assert address.checked(text) == address_of


@pytest.mark.parametrize(
    "text",
    [
        "",
        "console",
        "console:8443",
        "http://console:8443",
        "ftp://console",
        "https://",
        "https://console:0",
        "https://console:65536",
        "https://console:port",
        "https://console/api",
        "https://console?x=1",
        "https://console#x",
        "https://me:secret@console",
        "https://console\\@evil",
        "https://console\n.evil",
        "https://con sole",
        "https://cönsole",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(AddressInvalidError):
        address.checked(text)


def test_why_http_is_refused_is_said() -> None:
    with pytest.raises(AddressInvalidError, match="could read the API key"):
        address.checked("http://console:8443")


def test_what_is_missing_is_said() -> None:
    with pytest.raises(AddressInvalidError, match="https:// is missing"):
        address.checked("console:8443")


def test_a_remembered_session_without_https_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCG_CONFIG", str(tmp_path / "config"))
    session.write(Session(url="http://console", trust="", project="default", key="pcgkey1_x"))  # type: ignore[arg-type]
    with pytest.raises(AddressInvalidError):
        session.read()
