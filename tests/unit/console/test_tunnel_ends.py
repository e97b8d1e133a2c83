"""This file is how sessions, tunnels and streams end or give way: cut off, replaced, drained, or one too many."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.console.api import tunnel as route
from gateway.console.api import tunnels
from gateway.console.records import AuditOutcome
from gateway.console.store import audit, people
from gateway.console.store.audit import Sought
from gateway.console.store.database import StoreUnavailableError
from gateway.kit.errors import GatewayError
from gateway.tunnel.roads import DialError
from gateway.tunnel.session import Session
from gateway.tunnel.stream import Stream, StreamResetError
from tests.fakes.console import Console, paired_appliance, running_console
from tests.fakes.targets import Data, data_of, exchanged, reach, tunnel
from tests.unit.console.reaching import cut, data_open, entries, outcomes, over, reachable, until


async def test_a_removed_gateways_session_is_cut_off_with_its_streams(console: Console) -> None:
    data = await data_of(await paired_appliance(console))
    async with data.open() as inbound, tunnel(console) as session:
        await reachable(console)
        stream, _ = await reach(session)
        await console.ask("DELETE", "/api/v1/gateways/dc1")
        await cut(stream)
        await over(inbound)


@pytest.mark.attack(5)
async def test_a_revoked_key_loses_its_open_streams_within_five_seconds(console: Console) -> None:
    async with data_open(console), tunnel(console) as session:
        stream, _ = await reach(session)
        async with console.store() as store, store.writing(await console.scope()) as rows:
            (key,) = await people.keys(rows)
            await people.revoke_key(rows, key.id, now=console.clock.now())
        await cut(stream)

    with pytest.raises(DialError):
        async with tunnel(console):
            pass


async def test_without_an_audit_log_there_is_no_stream(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise StoreUnavailableError("no space left")

    async with data_open(console) as data, tunnel(console) as session:
        monkeypatch.setattr(audit, "append", full)
        _, reply = await reach(session)

    assert (reply.status, reply.code, data.asked) == ("refused", "console.store_unavailable", [])


async def test_a_user_who_goes_takes_the_stream_along_and_the_log_says_so(console: Console) -> None:
    async with data_open(console) as data:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def waits(stream: Stream) -> None:
            with pytest.raises(StreamResetError):
                await stream.read()
            gone.set_result(None)

        data.serves = waits
        async with tunnel(console) as session:
            await reach(session)
        async with asyncio.timeout(10):
            await gone
        assert await outcomes(console, 2) == ["began", "ended"]

    assert (await entries(console))[0]["facts"]["reason"] != "both ends were done"


async def test_the_same_session_again_takes_the_place_of_the_older_one(console: Console) -> None:
    data = await data_of(await paired_appliance(console))
    async with data.open() as older:
        await reachable(console)
        async with data.open(), tunnel(console) as session:
            assert "taken its place" in (await over(older)).message
            stream, _ = await reach(session)
            assert await exchanged(stream, b"x") == b"x"


async def test_a_fifth_session_takes_the_place_of_the_oldest(console: Console) -> None:
    first = await data_of(await paired_appliance(console))
    async with AsyncExitStack() as stack:
        oldest = await stack.enter_async_context(first.open())
        await reachable(console)
        for _ in range(4):
            await stack.enter_async_context(Data(first.appliance, first.grants).open())
        assert "taken its place" in (await over(oldest)).message


async def test_streams_spread_over_sessions_and_leave_one_that_goes_away(console: Console) -> None:
    one = await data_of(await paired_appliance(console))
    other = Data(one.appliance, one.grants)
    async with one.open() as going, other.open(), tunnel(console) as session:
        await reachable(console)
        held = [await reach(session) for _ in range(6)]
        assert {len(one.asked), len(other.asked)} == {3}
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(going.drain(within=20))
            await settled(session, other)
            assert len(one.asked) == 3
            for stream, _ in held:
                assert await exchanged(stream, b"still") == b"still"
            await draining


async def settled(session: Session, other: Data) -> None:
    """Open streams until two in a row went to `other`: the console has heard that its twin goes away."""

    async def twice() -> bool:
        before = len(other.asked)
        for _ in range(2):
            stream, reply = await reach(session)
            stream.reset()
            if reply.status != "ok":
                return False
        return len(other.asked) == before + 2

    await until(twice)


async def test_one_key_opens_only_so_many_tunnels(console: Console) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(tunnels.OF_ONE_KEY):
            await stack.enter_async_context(tunnel(console))
        with pytest.raises(DialError, match="503"):
            await stack.enter_async_context(tunnel(console))
    async with tunnel(console):
        pass


async def test_one_tunnel_carries_only_so_many_streams(console: Console) -> None:
    async with data_open(console), tunnel(console) as session:
        held = [await reach(session) for _ in range(route.LIMITS.streams)]
        with pytest.raises(GatewayError):
            await reach(session)
        stream, _ = held[-1]
        assert await exchanged(stream, b"x") == b"x"


async def test_a_stopping_console_ends_tunnels_at_once_and_writes_how(tmp_path: Path) -> None:
    async with AsyncExitStack() as running:
        console = await running.enter_async_context(running_console(tmp_path / "console"))
        async with data_open(console), tunnel(console) as session:
            await reach(session)
            began = asyncio.get_running_loop().time()
            await running.aclose()
            assert asyncio.get_running_loop().time() - began < 5
            assert "the console stops" in (await over(session)).message

    async with console.store() as store, store.reading(await console.scope()) as rows:
        ended, began_entry = await audit.newest(rows, Sought(action="tunnel.stream"), limit=9)
    assert (began_entry.outcome, ended.outcome) == (AuditOutcome.BEGAN, AuditOutcome.ENDED)
