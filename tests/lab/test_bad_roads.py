"""This file is the tunnel on bad roads: who is gone is given up in time and called again, who is slow never is.

Real TCP and TLS between namespaces, and the limits that hold in earnest.
"""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from gateway.kit import supervise
from gateway.tunnel.acceptor import accepting
from gateway.tunnel.channel import Channel
from gateway.tunnel.dataline import DataEnd
from gateway.tunnel.session import Session
from tests.fakes.ends import Ends
from tests.lab.bad_roads import CONSOLE, FAR, MESSAGE_LIMIT, Caller, Taker, Wire, move_the_nat, namespaces
from tests.lab.namespaces import inside
from tests.unit.tunnel.sessions import echo, read_to_end, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.attack(31),
    pytest.mark.skipif(shutil.which("iptables") is None, reason="iptables is not installed"),
]

GIVEN_UP = 45.0
BUSY = 10.0
"""Seconds by which a machine that has much else to do may be late."""
KIB = 1024


@dataclass
class Road:
    """Both ends of a road that stands."""

    caller: Caller
    taker: Taker
    wire: Wire

    async def begun(self) -> tuple[Session, Channel]:
        """Return the session and the channel that are there first."""
        return await self.caller.sessions.get(), await self.caller.channels.get()

    def was_cut(self) -> bool:
        return any([*self.caller.lost.values(), *self.taker.lost.values()])

    async def gone(self, *, ends: tuple[Caller | Taker, ...], what: tuple[str, ...] = ("session", "channel")) -> float:
        """Wait until these ends have given those up; return when the last did."""
        await until(lambda: all(end.lost[each] for end in ends for each in what))
        return max(end.lost[each][0] for end in ends for each in what)


@pytest.fixture
def ground() -> Iterator[None]:
    with namespaces():
        yield


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Ends:
    return Ends(tmp_path_factory.mktemp("ends"))


@asynccontextmanager
async def road(ends: Ends, wire: Wire | None = None) -> AsyncIterator[Road]:
    wire, taker = wire or Wire(), Taker()
    data = DataEnd(taker.on_session, echo)
    with inside(FAR):
        console = accepting(
            CONSOLE, 0, tls=ends.server, on_channel=taker.on_channel, message_limit=MESSAGE_LIMIT, data=data
        )
        port = await console.__aenter__()
    try:
        with wire.laid():
            caller = Caller(ends, f"wss://{CONSOLE}:{port}/")
            async with supervise.running(caller=caller.run()):
                yield Road(caller, taker, wire)
    finally:
        await console.__aexit__(None, None, None)


async def there_and_back(session: Session, size: int) -> None:
    """Send bytes through a stream that sends them back, and compare."""
    stream, _reply = await session.open(b"", within=60)
    sent, content = hashlib.sha256(), bytes(range(256)) * 64

    async def speak() -> None:
        for _ in range(size // len(content)):
            sent.update(content)
            await stream.write(content)
        stream.end()

    async with asyncio.TaskGroup() as group:
        group.create_task(speak())
        came = group.create_task(read_to_end(stream))
    assert hashlib.sha256(came.result()).digest() == sent.digest()


async def say(there: Road, channel: Channel, text: str) -> None:
    await channel.send(text)
    assert await there.caller.heard.get() == text


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_nat_that_moves_is_noticed_by_who_speaks_and_the_road_is_called_again(ends: Ends, ground: None) -> None:
    async with asyncio.timeout(120), road(ends) as there:
        session, channel = await there.begun()
        await there_and_back(session, 64 * KIB)
        await say(there, channel, "before")
        move_the_nat(silent=False)
        began = now()
        session.ask()
        await channel.send("nobody hears this")
        assert await there.gone(ends=(there.caller,)) - began <= GIVEN_UP + BUSY
        session, channel = await there.begun()
        await there_and_back(session, 64 * KIB)
        await say(there, channel, "after")


@pytest.mark.heavy
async def test_a_nat_that_moves_without_a_word_is_given_up_by_both_ends_in_time_and_called_again(
    ends: Ends, ground: None
) -> None:
    async with asyncio.timeout(200), road(ends) as there:
        session, channel = await there.begun()
        await there_and_back(session, 64 * KIB)
        move_the_nat(silent=True)
        began = now()
        assert await there.gone(ends=(there.caller, there.taker)) - began <= GIVEN_UP + BUSY
        session, channel = await there.begun()
        await there_and_back(session, 64 * KIB)
        await say(there, channel, "after")


async def test_a_long_road_that_loses_packets_carries_all_and_is_not_cut(ends: Ends, ground: None) -> None:
    async with asyncio.timeout(200), road(ends, Wire(delay=0.15, loss=0.03)) as there:
        session, channel = await there.begun()
        async with asyncio.TaskGroup() as group:
            group.create_task(there_and_back(session, 128 * KIB))
            for number in range(3):
                await say(there, channel, f"{number}")
        assert there.wire.swallowed
        assert not there.was_cut()


@pytest.mark.heavy
async def test_a_long_road_that_loses_packets_is_not_cut_in_minutes_of_bulk_and_of_silence(
    ends: Ends, ground: None
) -> None:
    """Bulk both ways for longer than a peer may be silent, then nothing at all for as long, then bulk again."""
    async with asyncio.timeout(290), road(ends, Wire(delay=0.15, loss=0.03)) as there:
        session, channel = await there.begun()
        for rest in (60.0, 0.0):
            until = now() + 60.0
            while now() < until:
                async with asyncio.TaskGroup() as group:
                    group.create_task(there_and_back(session, 256 * KIB))
                    group.create_task(say(there, channel, "x" * 10_000))
            await asyncio.sleep(rest)
        assert there.wire.swallowed > 50
        assert not there.was_cut()


async def test_a_black_hole_that_passes_costs_nothing_but_time(ends: Ends, ground: None) -> None:
    async with asyncio.timeout(100), road(ends) as there:
        session, channel = await there.begun()
        there.wire.largest = 1280
        async with asyncio.TaskGroup() as group:
            bulk = group.create_task(there_and_back(session, 512 * KIB))
            await until(lambda: there.wire.swallowed)
            for number in range(20):  # what is small gets through all the while
                await say(there, channel, f"{number}")
            assert not bulk.done()
            there.wire.largest = 1500
        assert not there.was_cut()


@pytest.mark.heavy
async def test_a_black_hole_that_stays_is_given_up_where_bulk_is_stuck_and_what_is_small_goes_on(
    ends: Ends, ground: None
) -> None:
    async with asyncio.timeout(200), road(ends) as there:
        session, channel = await there.begun()
        stream, _reply = await session.open(b"")
        there.wire.largest = 1280
        began = now()
        stream.offer(b"x" * 512 * KIB)
        while not (there.caller.lost["session"] and there.taker.lost["session"]):
            await say(there, channel, "still here")
            await asyncio.sleep(0.5)
        gone = await there.gone(ends=(there.caller, there.taker), what=("session",))
        assert gone - began <= GIVEN_UP + BUSY
        assert not there.caller.lost["channel"]
        await until(lambda: there.caller.calls["session"] >= 2)
        there.wire.largest = 1500
        session = await there.caller.sessions.get()
        await there_and_back(session, 512 * KIB)
        assert not there.taker.lost["channel"]
