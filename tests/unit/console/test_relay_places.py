"""This file is the promises of who takes whose place: nobody's, before the console has greeted it."""

import asyncio

import pytest

from gateway.console import hearing, relay
from gateway.contract.messages import Hello
from gateway.tunnel.channel import Channel, ChannelClosedError
from tests.fakes.console import Console, Line, paired_appliance


async def close_code(channel: Channel) -> int:
    """Wait until the console closes the channel."""
    try:
        async with asyncio.timeout(20):
            while True:
                await channel.receive()
    except ChannelClosedError as fault:
        return int(fault.facts["close_code"] or 0)


@pytest.mark.attack(13)
async def test_callers_that_say_nothing_take_no_place_but_that_of_another_such(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as first, appliance.dialled() as silent, appliance.dialled():
        assert await close_code(silent) == relay.REPLACED
        await first.settle()


@pytest.mark.attack(13)
@pytest.mark.parametrize(("protocol", "next_event"), [(2, 1), (1, 99)], ids=["rolled back", "too old"])
async def test_a_caller_that_is_refused_takes_nobodys_place(
    console: Console, monkeypatch: pytest.MonkeyPatch, protocol: int, next_event: int
) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected() as first, appliance.dialled() as second:
        await first.settle()
        monkeypatch.setattr(hearing, "OLDEST_SPOKEN", 2)
        hello = Hello(protocol=protocol, software="9.9", boot_id=appliance.boot_id, next_event=next_event)
        await Line(appliance, second).say(hello)
        assert await close_code(second) == relay.REFUSED
        await first.settle()
