"""This file is the promises of ending a pairing: the console is told if it can be, and it ends in any case."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.appliance import pairing
from gateway.appliance.identity import Identity, NotPairedError
from gateway.appliance.lockdown import Lockdown
from gateway.appliance.policy.kept import Kept
from gateway.cli.main import main
from gateway.kit import files
from tests.fakes.console import Console, running_console, token
from tests.unit.appliance.conversation import ScriptedConsole
from tests.unit.appliance.test_daemon import running_appliance, settings_in


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return files.make_private_directory(tmp_path / "state")


def unpair(state: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["appliance", "unpair", "--state", str(state), *arguments])
    return int(left.value.code or 0)


async def in_thread(state: Path) -> int:
    """Run the command beside the console, as another process would."""
    return await asyncio.to_thread(unpair, state, "--yes")


def acts(state: Path) -> list[tuple[str, str]]:
    lines = (state / "audit.log").read_text().splitlines()
    return [(one["action"], one["outcome"]) for one in map(json.loads, lines)]


async def test_a_console_that_can_be_reached_is_told_and_takes_the_gateway_for_revoked(
    state: Path, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = Identity.open(state)
    await pairing.pair(identity, await token(console))
    assert await in_thread(state) == 0
    assert "could not be told" not in capsys.readouterr().out
    assert identity.paired() is None
    assert list((state / "identity").rglob("*.key")) == []
    gateway = (await console.ask("GET", "/api/v1/gateways/dc1")).body
    assert gateway["standing"] == "revoked"
    assert "its site has ended the pairing" in gateway["conditions"][0]["message"]
    assert acts(state) == [("unpaired", "ok")]
    assert not Lockdown(state).is_asked


async def test_a_running_appliance_is_cut_and_ends_because_it_is_nobody_any_more(
    tmp_path: Path, state: Path, console: Console
) -> None:
    await pairing.pair(Identity.open(state), await token(console))
    Kept.open(state)
    with pytest.RaisesGroup(NotPairedError, flatten_subgroups=True):
        async with running_appliance(settings_in(tmp_path)):
            assert await in_thread(state) == 0
            async with asyncio.timeout(20):
                await asyncio.Event().wait()
    assert (state / "journal.db").exists()
    assert (state / "policy.yaml").exists()


def test_without_a_console_the_pairing_ends_all_the_same(
    tmp_path: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(state))
    assert unpair(state, "--yes") == 0
    assert "The console could not be told: have it remove the gateway" in capsys.readouterr().out
    assert Identity.open(state).paired() is None


def test_without_a_yes_everything_stays(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(state))
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert unpair(state) == 2
    assert Identity.open(state).paired() is not None


def test_a_lockdown_that_was_there_before_stays(tmp_path: Path, state: Path) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(state))
    Lockdown(state).ask()
    assert unpair(state, "--yes") == 0
    assert Lockdown(state).is_asked


def test_who_is_not_paired_is_told_so(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert unpair(state, "--yes") == 4
    assert "is not paired" in capsys.readouterr().err
