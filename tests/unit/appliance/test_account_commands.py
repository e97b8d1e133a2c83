"""This file is the promises of `pcg appliance account`, beside accounts that came sealed."""

from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from gateway.appliance.sealed import Sealed
from gateway.cli import main
from gateway.clouds.accounts import Accounts, AccountUnreadableError, CloudAccount, content_of
from gateway.contract.accounts import SealedAccounts
from gateway.identity import devicekeys, sealing
from gateway.kit import files
from tests.fakes.clock import HandClock

GATEWAY = UUID(int=7)


def an_account(server: str) -> CloudAccount:
    return CloudAccount(server=server, user="svc", password=SecretStr("secret of the account"))


async def sealed_in(state: Path, **accounts: bytes) -> Sealed:
    """Keep accounts as if they had come from the console."""
    kept = Sealed.open(state, gateway=GATEWAY, device=devicekeys.new(), clock=HandClock())
    key = kept.sealing_key()
    every = [
        sealing.seal(key, sealing.Label(GATEWAY, name, "vsphere", 1), content) for name, content in accounts.items()
    ]
    await kept.take(SealedAccounts(accounts=every, key_id=key.id))
    return kept


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return files.make_private_directory(tmp_path / "state")


def pcg(state: Path, *arguments: str) -> None:
    with pytest.raises(SystemExit) as left:
        main.main(["appliance", *arguments, "--state", str(state)])
    assert left.value.code == 0


async def test_of_two_accounts_with_one_name_the_appliances_own_is_meant(state: Path) -> None:
    sealed = await sealed_in(state, main=content_of(an_account("sealed.example.com")))
    accounts = Accounts(state / "accounts", sealed)
    assert accounts.read("main").server == "sealed.example.com"
    accounts.write("main", an_account("own.example.com"))
    assert (accounts.names(), accounts.read("main").server) == (["main"], "own.example.com")
    accounts.remove("main")
    assert accounts.read("main").server == "sealed.example.com"


async def test_what_opens_and_is_no_account_is_told_without_what_is_in_it(state: Path) -> None:
    sealed = await sealed_in(state, main=b'{"password": "secret of the account"}')
    with pytest.raises(AccountUnreadableError, match="pcg account create --replace") as told:
        Accounts(state / "accounts", sealed).read("main")
    assert "secret" not in str(told.value)


async def test_a_list_shows_both_kinds_and_which_one_is_meant(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await sealed_in(state, main=content_of(an_account("a.example.com")), other=content_of(an_account("b.example.com")))
    Accounts(state / "accounts").write("main", an_account("own.example.com"))
    pcg(state, "account", "list")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "main\tvsphere\town.example.com\tsvc\tinstead of the sealed one of that name"
    assert second == "other\tsealed, through the console"
    pcg(state, "status")
    assert "Cloud accounts: main, other." in capsys.readouterr().out
