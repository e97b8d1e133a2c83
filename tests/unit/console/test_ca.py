"""This file is `pcg console ca`: a rotation, step by step, beside a running console and without one."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import update
from typer.testing import CliRunner

from gateway.console import ca
from gateway.console.ca import GatewaysLeftBehindError, TokensLeftBehindError
from gateway.console.commands import app
from gateway.console.keyring import ConsoleNotThereError
from gateway.console.store.database import Store
from gateway.console.store.tables import gateways
from gateway.contract.messages import Trust, TrustKept
from gateway.contract.trust import Successions
from gateway.identity import succession, tls, tokens
from gateway.identity.rotation import NOTICED, RotationOutOfTurnError
from gateway.kit import files
from gateway.tunnel.calling import ConsoleNotTrustedError
from gateway.tunnel.channel import ChannelClosedError
from tests.fakes.console import Appliance, Console, paired_appliance, running_console, token


async def said(state: Path, *words: str) -> str:
    """Run `pcg console ca …` and return what it prints."""
    result = await asyncio.to_thread(CliRunner().invoke, app, ["ca", *words, "--state", str(state)])
    if result.exception:
        raise result.exception
    return result.stdout


async def keeps(console: Console, version: int) -> None:
    """Have every gateway say that it keeps this version of the bundle."""
    async with console.store() as store, store.writing_unscoped("a test") as every:
        await every.run(update(gateways).values(trust_version=version))


async def has_noticed(console: Console, *, version: int) -> Successions:
    """Wait until the running console has read what another process has written."""
    async with asyncio.timeout(30):
        while True:
            answer = await console.ask("GET", "/api/v1/authority/successions", key="")
            found = Successions.model_validate(answer.body)
            if found.trust.version == version:
                return found
            await asyncio.sleep(0.1)


async def test_a_rotation_waits_for_gateways_and_names_them(console: Console) -> None:
    state = console.settings.state
    await paired_appliance(console, "dc1")
    await paired_appliance(console, "dc2")
    await keeps(console, 1)
    assert "Next: nothing." in await said(state, "status")

    first = await said(state, "rotate", "--root")
    assert "next root" in first
    assert "2 gateways have not: dc1, dc2." in first
    with pytest.raises(GatewaysLeftBehindError, match=r"2 gateways .*: dc1, dc2; .*--yes"):
        await said(state, "rotate", "--switch")

    await keeps(console, 2)
    assert "All have." in await said(state, "status")
    assert "former root" in await said(state, "rotate", "--switch")
    with pytest.raises(GatewaysLeftBehindError):  # their certificates are still below the former root
        await said(state, "rotate", "--retire")
    done = await said(state, "rotate", "--retire", "--yes")
    assert "Phase: steady. Trust bundle: version 4." in done
    assert "2 gateways have missed the last rotation: dc1, dc2." in done, "steady, and yet not all is well"


async def test_whom_the_last_rotation_has_left_behind_does_not_hold_up_the_next(console: Console) -> None:
    await paired_appliance(console, "dc1")
    for words in (["--root"], ["--switch", "--yes"], ["--retire", "--yes"]):
        await said(console.settings.state, "rotate", *words)
    assert "next root" in await said(console.settings.state, "rotate", "--root")


async def test_tokens_that_know_the_former_root_only_are_named_before_they_are_worthless(console: Console) -> None:
    state = console.settings.state
    old = tokens.parse(await token(console, "dc7"))
    assert old.id in await said(state, "rotate", "--root")
    assert await states(console) == {old.id: "open"}
    console.clock.ahead += NOTICED
    await has_noticed(console, version=2)
    new = tokens.parse(await token(console, "dc8"))
    with pytest.raises(TokensLeftBehindError, match=rf"1 open registration token would .*: {old.id} for dc7; .*--yes"):
        await said(state, "rotate", "--switch")
    assert old.id in await said(state, "rotate", "--switch", "--yes")
    await has_noticed(console, version=3)
    assert await states(console) == {old.id: "stale", new.id: "open"}
    await console.ask("DELETE", f"/api/v1/registration-tokens/{old.id}")
    assert "knows the former root" not in await said(state, "status")


async def states(console: Console) -> dict[str, str]:
    """Return the state of each registration token."""
    found = (await console.ask("GET", "/api/v1/registration-tokens")).body["items"]
    return {one["id"]: one["state"] for one in found}


async def test_one_gateway_is_not_called_several(console: Console) -> None:
    await paired_appliance(console, "dc1")
    assert "1 gateway has not: dc1." in await said(console.settings.state, "rotate", "--root")
    with pytest.raises(GatewaysLeftBehindError, match=r"^1 gateway has not heard"):
        await said(console.settings.state, "rotate", "--switch")


async def test_programs_read_how_the_authority_stands(console: Console) -> None:
    await paired_appliance(console, "dc1")
    found = json.loads(await said(console.settings.state, "rotate", "--root", "-o", "json"))
    assert (found["phase"], found["trust_version"]) == ("handed-on", 2)
    assert [one["what"] for one in found["certificates"]] == ["current root", "next root", "intermediate", "console"]
    assert [one["name"] for one in found["behind"]] == ["dc1"]
    assert found["gateways_by_trust_version"] == {"1": 1}
    again = json.loads(await said(console.settings.state, "status", "--output", "json"))
    assert again["next"] == found["next"]


async def test_the_consoles_own_certificate_is_among_those_whose_end_is_shown(console: Console) -> None:
    own = x509.load_pem_x509_certificates((console.settings.state / "server.pem").read_bytes())[0]
    (line,) = [one for one in (await said(console.settings.state, "status")).splitlines() if one.startswith("console ")]
    assert f"{own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC" in line


async def test_each_step_of_a_rotation_has_a_word_of_its_own_and_said_twice_it_is_taken_once(console: Console) -> None:
    state = console.settings.state
    await said(state, "rotate", "--root")
    before = await said(state, "status")
    with pytest.raises(RotationOutOfTurnError, match=r"handed on already.*--switch"):
        await said(state, "rotate", "--root", "--yes")
    assert await said(state, "status") == before
    await said(state, "rotate", "--switch")
    with pytest.raises(RotationOutOfTurnError, match="--retire"):
        await said(state, "rotate", "--switch", "--yes")


async def test_a_step_out_of_turn_is_refused_whatever_is_said(console: Console) -> None:
    for words in (("--retire",), ("--retire", "--yes")):
        with pytest.raises(RotationOutOfTurnError, match="rotate --root"):
            await said(console.settings.state, "rotate", *words)
    await said(console.settings.state, "rotate", "--root")
    await said(console.settings.state, "rotate", "--switch")
    with pytest.raises(RotationOutOfTurnError, match="--retire"):
        await said(console.settings.state, "rotate", "--root", "--yes")


async def test_anybody_may_read_how_the_roots_have_followed_one_another(console: Console) -> None:
    asleep = str((await console.ask("GET", "/api/v1/authority", key="")).body)
    for step in ("--root", "--switch", "--retire", "--root", "--switch"):
        await said(console.settings.state, "rotate", step)
    found = await has_noticed(console, version=6)
    assert len(found.steps) == 2
    assert succession.follow([asleep], found).roots[0] == found.trust.roots[0]
    assert (await console.ask("GET", "/api/v1/authority", key="")).body == found.trust.roots[0]


async def test_a_new_intermediate_needs_no_turn_and_leaves_nobody_behind(tmp_path: Path) -> None:
    async with running_console(tmp_path / "console") as console:
        await paired_appliance(console, "dc1")
    before = await said(tmp_path / "console", "status")
    after = await said(tmp_path / "console", "rotate")
    assert [a == b for a, b in zip(before.splitlines(), after.splitlines(), strict=True)].count(False) == 1


async def test_without_a_console_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConsoleNotThereError):
        await said(tmp_path / "nothing", "status")
    assert not (tmp_path / "nothing").exists()
    state = files.make_private_directory(tmp_path / "never started")
    async with Store.open(f"sqlite+aiosqlite:///{state / 'console.sqlite'}"):
        pass
    with pytest.raises(ConsoleNotThereError):
        await said(state, "status")
    assert not (state / "authority").exists()


def test_many_gateways_are_counted_rather_than_all_named() -> None:
    many = [ca.Trusting("default", f"dc{number}", 0, datetime.max.replace(tzinfo=UTC)) for number in range(25)]
    assert ca._names(many).endswith("dc9 and 15 more")


async def test_a_connected_gateway_gets_the_next_root_and_is_waited_for_no_longer(console: Console) -> None:
    state = console.settings.state
    appliance = await paired_appliance(console, "dc1")
    async with appliance.connected(protocol=3) as line:
        assert "dc1" in await said(state, "rotate", "--root")
        bundle = (await line.hear(Trust)).trust
        assert (bundle.version, len(bundle.roots)) == (2, 2)
        await line.say(TrustKept(version=2))
        await line.settle()
        assert "All have." in await said(state, "status")


async def test_below_a_retired_root_nobody_comes_in_though_the_console_was_not_restarted(console: Console) -> None:
    """The TLS port cannot be told to forget a root; whoever comes in is looked at once more."""
    state = console.settings.state
    appliance = await paired_appliance(console, "dc1")
    async with appliance.connected(protocol=3):
        pass
    for step in ("--root", "--switch", "--retire"):
        await said(state, "rotate", step, "--yes")
    present = await has_noticed(console, version=4)
    pair = (state.parent / "dc1.pem", state.parent / "dc1.key")
    appliance.tls = tls.timeless("".join(present.trust.roots), certificate=pair[0], key=pair[1])
    await shows_another_certificate(appliance)
    with pytest.raises(ChannelClosedError, match=r"authority that was retired"):
        async with appliance.connected(protocol=3):
            pass


async def shows_another_certificate(appliance: Appliance) -> None:
    """Wait until the console shows a certificate below the new root: it says so a moment before it does so."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with appliance.dialled():
                    return
            except ConsoleNotTrustedError:
                await asyncio.sleep(0.05)
