"""This file is the promises of pairing, with a whole console in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.appliance import pairing
from gateway.appliance.identity import Identity, Paired
from gateway.appliance.pairing import AlreadyPairedError, PairingRefusedError
from gateway.console.limits import Buckets
from gateway.contract.messages import MESSAGE_LIMIT
from gateway.identity import tokens
from gateway.kit import files
from gateway.tunnel.dialer import dial
from tests.fakes.console import Console, finish, running_console, token
from tests.unit.provisioning.world import PowerCutError


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


def identity_in(directory: Path) -> Identity:
    return Identity.open(files.make_private_directory(directory))


async def gateways(console: Console) -> list[str]:
    return [one["name"] for one in (await console.ask("GET", "/api/v1/gateways")).body["items"]]


async def test_what_pairing_brought_opens_the_tunnel(tmp_path: Path, console: Console) -> None:
    identity = identity_in(tmp_path / "state")
    paired = await pairing.pair(identity, await token(console))
    assert identity.paired() == paired
    async with dial(paired.tunnel, tls=identity.tls(), message_limit=MESSAGE_LIMIT):
        pass


@pytest.mark.attack(1)
async def test_of_twenty_appliances_that_race_for_one_token_exactly_one_is_paired(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = await token(console)
    # the console counts starts of one token; the race is about what happens behind that door
    monkeypatch.setattr(Buckets, "take", lambda *_args, **_named: None)
    racers = [identity_in(tmp_path / f"state-{number}") for number in range(20)]

    async def race(identity: Identity) -> Paired | None:
        try:
            return await pairing.pair(identity, text)
        except PairingRefusedError:
            return None

    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(race(one)) for one in racers]
    winners = [one.result() for one in tries if one.result() is not None]
    assert len(winners) == 1
    assert [one.paired() for one in racers if one.paired() is not None] == winners
    assert await gateways(console) == ["dc1"]


@pytest.mark.parametrize("cut_at", ["tls.pem", "trust.pem", "paired.json"])
async def test_pairing_cut_between_the_answer_and_the_disk_is_repeated_with_the_same_token(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, cut_at: str
) -> None:
    text, write = await token(console), files.write_whole

    def cutting(path: Path, content: bytes, *, mode: int = files.PRIVATE_FILE) -> None:
        if path.name == cut_at:
            raise PowerCutError
        write(path, content, mode=mode)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_whole", cutting)
        with suppress(PowerCutError):
            await pairing.pair(identity_in(tmp_path / "state"), text)
    identity = identity_in(tmp_path / "state")
    assert identity.paired() is None
    paired = await pairing.pair(identity, text)
    assert await gateways(console) == ["dc1"]
    async with dial(paired.tunnel, tls=identity.tls(), message_limit=MESSAGE_LIMIT):
        pass


async def test_an_answer_that_was_lost_is_given_again_to_the_same_device(tmp_path: Path, console: Console) -> None:
    text, identity = await token(console), identity_in(tmp_path / "state")
    assert (await finish(console, tokens.parse(text), identity.candidate())).status == 200
    assert (await pairing.pair(identity, text)).gateway_name == "dc1"
    assert await gateways(console) == ["dc1"]


async def test_an_appliance_that_is_paired_does_not_use_a_second_token_up(tmp_path: Path, console: Console) -> None:
    identity = identity_in(tmp_path / "state")
    paired = await pairing.pair(identity, await token(console))
    second = await token(console, "dc2")
    with pytest.raises(AlreadyPairedError, match="as dc1"):
        await pairing.pair(identity, second)
    assert identity.paired() == paired
    assert (await pairing.pair(identity_in(tmp_path / "other"), second)).gateway_name == "dc2"
