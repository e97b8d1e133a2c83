"""This file is the promises of data sessions: they are of the appliance that was greeted, and of nobody else."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gateway.console.latches import Latches
from gateway.identity import devicekeys
from gateway.tunnel.session import Session
from tests.fakes.console import Console, paired_appliance, running_console
from tests.fakes.targets import Data, data_of, exchanged, reach, tunnel
from tests.unit.console.copies import IDENTITY, conditions
from tests.unit.console.reaching import over, reachable

WITHIN = 5.0


def stolen(data: Data) -> Data:
    """Return a data session of somebody who has the TLS key, and nothing that was said to the appliance."""
    thief = replace(data.appliance, device=devicekeys.new(), latch=None)
    return replace(data, appliance=thief, id=uuid4(), asked=[], granted=[])


async def _cut(session: Session) -> str:
    async with asyncio.timeout(WITHIN):
        return (await over(session)).message


@pytest.mark.attack(5)
async def test_with_a_stolen_certificate_nobody_takes_the_streams_of_an_appliance_that_is_connected(
    console: Console,
) -> None:
    real = await paired_appliance(console)
    data = await data_of(real)
    thieves = [stolen(data) for _ in range(4)]
    async with real.connected(protocol=IDENTITY, targets=("web",)), data.open(), AsyncExitStack() as stack:
        await reachable(console)
        for one in thieves:
            assert "session_stranger" in await _cut(await stack.enter_async_context(one.open()))
        async with tunnel(console) as user:
            stream, reply = await reach(user)
            assert (reply.status, await exchanged(stream, b"for the right one")) == ("ok", b"for the right one")
    assert (len(data.asked), [one.asked for one in thieves]) == (1, [[], [], [], []])


@pytest.mark.attack(5)
async def test_sessions_that_were_open_before_their_gateway_was_greeted_are_cut_if_they_are_not_its_own(
    tmp_path: Path,
) -> None:
    async with running_console(tmp_path / "console") as console:
        real = await paired_appliance(console)
        data = await data_of(real)
        thief = stolen(data)
        async with thief.open() as session:
            await reachable(console)
            async with real.connected(protocol=IDENTITY, targets=("web",)):
                await reachable(console, wanted=False)
                assert "session_stranger" in await _cut(session)


async def test_a_command_channel_that_comes_back_cuts_no_data_session(console: Console) -> None:
    real = await paired_appliance(console)
    data = await data_of(real)
    async with AsyncExitStack() as stack:
        async with real.connected(protocol=IDENTITY, targets=("web",)):
            await stack.enter_async_context(data.open())
            await reachable(console)
        async with real.connected(protocol=IDENTITY, targets=("web",)) as line, tunnel(console) as user:
            await line.settle()
            stream, reply = await reach(user)
            assert (reply.status, await exchanged(stream, b"still")) == ("ok", b"still")
    assert await conditions(console) == []


def test_one_boot_has_one_latch_also_after_the_console_was_restarted_and_another_boot_another() -> None:
    gateway, boot = UUID(int=1), UUID(int=2)
    first, again = Latches(b"s" * 32), Latches(b"s" * 32)
    latch = first.fit(gateway, boot, protocol=IDENTITY)
    assert latch is not None
    assert again.fit(gateway, boot, protocol=IDENTITY) == latch
    others = {
        first.fit(gateway, UUID(int=3), protocol=IDENTITY),
        first.fit(UUID(int=4), boot, protocol=IDENTITY),
        Latches(b"t" * 32).fit(gateway, boot, protocol=IDENTITY),
    }
    assert len({latch, *others}) == 4
    assert not first.opens(gateway, latch), "that boot is over"


def test_an_appliance_of_before_latches_needs_none() -> None:
    latches, gateway = Latches(b"s" * 32), UUID(int=1)
    assert latches.opens(gateway, "")
    latches.fit(gateway, UUID(int=2), protocol=IDENTITY)
    assert [latches.opens(gateway, shown) for shown in ("", "ü", "0" * 64)] == [False] * 3
    assert latches.fit(gateway, UUID(int=2), protocol=IDENTITY - 1) is None
    assert latches.opens(gateway, "")
