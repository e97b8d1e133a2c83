"""This file is the appliance's cloud accounts: private files, and how they are signed in to."""

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from gateway.clouds import registry
from gateway.clouds.accounts import (
    AccountInvalidError,
    Accounts,
    AccountUnknownError,
    AccountUnreadableError,
    CloudAccount,
)

ACCOUNT = CloudAccount(server="vc.example", user="admin@vsphere.local", password=SecretStr("s3cret"))


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "accounts")


def test_an_account_is_read_as_it_was_stored(accounts: Accounts) -> None:
    accounts.write("lab", ACCOUNT)
    assert accounts.read("lab") == ACCOUNT
    assert accounts.names() == ["lab"]


def test_an_accounts_file_is_closed_to_others(accounts: Accounts, tmp_path: Path) -> None:
    accounts.write("lab", ACCOUNT)
    assert stat.S_IMODE((tmp_path / "accounts" / "lab.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "accounts").stat().st_mode) == 0o700


def test_an_unknown_account_is_told_with_those_there_are(accounts: Accounts) -> None:
    accounts.write("lab", ACCOUNT)
    with pytest.raises(AccountUnknownError, match="it has: lab"):
        accounts.read("prod")


def test_a_forgotten_account_is_gone_and_cannot_be_forgotten_again(accounts: Accounts) -> None:
    accounts.write("lab", ACCOUNT)
    accounts.remove("lab")
    assert accounts.names() == []
    with pytest.raises(AccountUnknownError, match="it has: none"):
        accounts.remove("lab")


@pytest.mark.parametrize("name", ["", "../identity/paired", "a/b", "/etc/passwd", ".", "..", "Lab", "lab\n", "x" * 41])
def test_a_name_that_is_none_is_refused_before_anything_is_touched(
    accounts: Accounts, tmp_path: Path, name: str
) -> None:
    other = tmp_path / "identity" / "paired.json"
    other.parent.mkdir()
    other.write_text("{}")
    accounts.write("lab", ACCOUNT)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AccountInvalidError, match="lowercase letters, digits and dashes"):
        accounts.write(name, ACCOUNT)
    for touch in (accounts.read, accounts.remove):
        with pytest.raises(AccountUnknownError, match="it has: lab"):
            touch(name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_file_is_told_without_what_is_in_it(accounts: Accounts, tmp_path: Path) -> None:
    accounts.write("lab", ACCOUNT)
    (tmp_path / "accounts" / "lab.json").write_text('{"password": "s3cret"}')
    with pytest.raises(AccountUnreadableError) as caught:
        accounts.read("lab")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_password_is_not_shown() -> None:
    assert "s3cret" not in repr(ACCOUNT)
    assert "s3cret" not in ACCOUNT.model_dump_json()


def said_of(**wrong: str) -> str:
    """Return the one sentence with which an account is refused."""
    given = {"server": "vc.example", "user": "u", "password": "p"} | wrong
    with pytest.raises(ValidationError) as caught:
        CloudAccount.model_validate(given)
    [error] = caught.value.errors(include_input=False)
    assert error["loc"] == tuple(wrong)
    return error["msg"]


@pytest.mark.parametrize("thumbprint", ["", "AA:BB", "AA" * 32, ":".join(["AA"] * 20), ":".join(["AA"] * 32) + "\n"])
def test_a_thumbprint_that_is_not_sha256_is_refused_in_words(thumbprint: str) -> None:
    assert said_of(thumbprint=thumbprint).startswith("this must be the SHA-256 fingerprint of vCenter's certificate")


@pytest.mark.parametrize("server", ["vc", "vc.example:8443", "10.0.0.5", "[2001:db8::5]", "[::1]:443", "a_b.corp"])
def test_a_server_is_a_host_and_perhaps_a_port(server: str) -> None:
    assert CloudAccount(server=server, user="u", password=SecretStr("p")).server == server


@pytest.mark.parametrize(
    "server", ["", " ", "vc.example/sdk", "vc:", "vc:0", "vc:70000", "vc:x", "2001:db8::5", "user@vc", "vc\n", "-vc"]
)
def test_a_server_that_is_none_is_refused_in_words(server: str) -> None:
    assert said_of(server=server).startswith("this must be a host name or address, with :port unless it is 443")


def test_whoever_pastes_an_address_of_the_web_page_is_told_what_to_leave_out() -> None:
    assert said_of(server="https://vc.example/ui").startswith("leave out https://")


@pytest.mark.parametrize("user", ["", "  "])
def test_an_account_without_a_user_is_refused_in_words(user: str) -> None:
    assert said_of(user=user) == "a user is needed, such as svc-pcg@vsphere.local"


async def test_signing_in_to_an_account_that_is_not_there_is_told(accounts: Accounts) -> None:
    with pytest.raises(AccountUnknownError):
        async with registry.connect_by(accounts)("lab"):
            pass


def test_every_kind_of_account_has_an_adapter() -> None:
    assert set(registry.KINDS) == {"vsphere"} == set(CloudAccount.model_fields["kind"].annotation.__args__)
