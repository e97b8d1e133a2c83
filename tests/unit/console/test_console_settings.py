"""This file is what the console's settings promise: wrong ones are named, and passwords are not."""

import pytest

from gateway.console import settings
from gateway.console.settings import ConsoleSettingsError
from gateway.console.store.engine import DatabaseUnusableError, open_engines


@pytest.mark.parametrize("hosts", ["console.example.com", "console", "10.0.0.5, fd00::5", "localhost", "a-b.c1"])
def test_addresses_and_names_are_taken(hosts: str) -> None:
    assert settings.read(hosts=hosts).hosts == [one.strip() for one in hosts.split(",")]


@pytest.mark.parametrize(
    "wrong",
    ["https://console", "console:8443", "[::1]", "10.0.0.300", "a b", "-a", "*.example.com", "a" * 64, "fe80::1%eth0"],
)
def test_a_host_that_cannot_be_in_a_certificate_is_named(wrong: str) -> None:
    with pytest.raises(ConsoleSettingsError, match="neither an IP address nor a DNS name"):
        settings.read(hosts=["localhost", wrong])


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "postgresql+asyncpg:hunter2",
        "postgresql+asyncpg://u:hunter2@h:port/d",
        "postgresql+nodriver://u:hunter2@h/d",
        "nodatabase://u:hunter2@h/d",
        "sqlite://",
        "oracle+oracledb_async://u:hunter2@h/d",
        "sqlite+aiosqlite:////nowhere/hunter2/x.sqlite",
    ],
)
def test_a_database_that_cannot_be_used_is_a_named_error_without_its_password(url: str) -> None:
    with pytest.raises(DatabaseUnusableError) as caught:
        open_engines(url)

    assert "hunter2" not in caught.value.message
    assert caught.value.__cause__ is None or "hunter2" not in str(caught.value.__cause__).replace(
        "/nowhere/hunter2", ""
    )
