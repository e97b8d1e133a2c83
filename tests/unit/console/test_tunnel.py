"""This file is what the console promises to who opens streams, and to who owns what they lead to; over real TLS."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.console.api import tunnel as route
from gateway.console.api import tunnels
from gateway.console.records import AuditOutcome
from gateway.console.store import audit, people
from gateway.console.store.audit import Sought
from gateway.console.store.database import StoreUnavailableError
from gateway.contract.messages import Offers
from gateway.contract.streams import OfferedTarget
from gateway.kit.errors import GatewayError
from gateway.tunnel.roads import DialError
from gateway.tunnel.session import Session
from gateway.tunnel.stream import Stream, StreamResetError
from tests.fakes.console import Console, paired_appliance, running_console
from tests.fakes.targets import DENIED, Data, data_of, exchanged, reach, tunnel


@asynccontextmanager
async def data_open(console: Console, *targets: str) -> AsyncIterator[Data]:
    data = await data_of(await paired_appliance(console), *targets)
    async with data.open():
        await reachable(console)
        yield data


async def reachable(console: Console, gateway: str = "dc1", *, key: str | None = None, wanted: bool = True) -> None:
    async def so() -> bool:
        said = await console.ask("GET", f"/api/v1/gateways/{gateway}/targets", key=key)
        return bool(said.body["reachable"]) is wanted

    await until(so)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - what is waited for is asked of the console
            await asyncio.sleep(0.02)


async def entries(console: Console, query: str = "", *, key: str | None = None) -> list[dict[str, Any]]:
    said = await console.ask("GET", f"/api/v1/audit{query}", key=key)
    assert said.status == 200, said
    found: list[dict[str, Any]] = said.body["items"]
    return found


async def outcomes(console: Console, wanted: int) -> list[str]:
    """Wait until so many entries are there and return their outcomes, the oldest first."""

    async def there() -> bool:
        return len(await entries(console)) >= wanted

    await until(there)
    return [one["outcome"] for one in reversed(await entries(console))]


async def test_a_stream_reaches_its_target_and_every_byte_is_accounted_for(console: Console) -> None:
    async with data_open(console) as data, tunnel(console) as session:
        stream, reply = await reach(session)
        assert await exchanged(stream, b"hello") == b"hello"
        assert await outcomes(console, 2) == ["began", "ended"]

    ended, began = await entries(console)
    assert reply.connection_id is not None
    assert (ended["actor"], ended["action"], ended["gateway"], ended["target"]) == (
        *("admin", "tunnel.stream"),
        *("dc1", "web"),
    )
    assert (ended["facts"]["sent"], ended["facts"]["received"], ended["facts"]["reason"]) == (
        *(5, 5),
        "both ends were done",
    )
    assert began["facts"]["trace"] == ended["facts"]["trace"] == str(data.asked[0].trace)
    assert began["facts"]["session"] == str(data.id)


async def test_the_grant_names_the_user_and_lives_shorter_than_a_minute(console: Console) -> None:
    async with data_open(console) as data, tunnel(console) as session:
        await reach(session)

    (grant,) = data.granted
    assert (grant.user, grant.tenant, grant.target) == ("admin", "default", "web")
    assert (grant.expires - grant.not_before).total_seconds() < 60


async def test_much_goes_both_ways_at_once_and_arrives_whole(console: Console) -> None:
    content = secrets.token_bytes(4 * 1024 * 1024)
    async with data_open(console), tunnel(console) as session:
        stream, _ = await reach(session)
        back = hashlib.sha256()

        async def listen() -> None:
            while piece := await stream.read():
                back.update(piece)

        async with asyncio.TaskGroup() as group:
            group.create_task(listen())
            for start in range(0, len(content), 65536):
                await stream.write(content[start : start + 65536])
            stream.end()

    assert back.digest() == hashlib.sha256(content).digest()


async def test_the_target_may_end_first_and_still_be_told_things(console: Console) -> None:
    heard = bytearray()

    async def speaks_first(stream: Stream) -> None:
        await stream.write(b"bye")
        stream.end()
        while piece := await stream.read():
            heard.extend(piece)

    async with data_open(console) as data, tunnel(console) as session:
        data.serves = speaks_first
        stream, _ = await reach(session)
        assert bytes(await stream.read()) == b"bye"
        assert await stream.read() == b""
        await stream.write(b"one more thing")
        stream.end()
        assert await outcomes(console, 2) == ["began", "ended"]

    assert heard == b"one more thing"


async def test_what_the_appliance_refuses_is_told_in_its_words_and_harms_no_other_stream(console: Console) -> None:
    async with data_open(console) as data, tunnel(console) as session:
        stream, _ = await reach(session)
        data.reply = DENIED
        _, reply = await reach(session)
        assert await exchanged(stream, b"still here") == b"still here"
        assert await outcomes(console, 4) == ["began", "began", "refused", "ended"]

    assert reply == DENIED
    (refused,) = [one for one in await entries(console) if one["outcome"] == "refused"]
    assert (refused["facts"]["code"], refused["facts"]["reason"]) == (DENIED.code, DENIED.detail)


@pytest.mark.parametrize(
    ("gateway", "target", "code"),
    [("dc9", "web", "gateway.unknown"), ("dc1", "db", "target.unknown")],
)
async def test_what_is_not_there_is_refused_audited_and_asked_of_no_appliance(
    console: Console, gateway: str, target: str, code: str
) -> None:
    async with data_open(console) as data, tunnel(console) as session:
        _, reply = await reach(session, target, gateway=gateway)

    assert (reply.status, reply.code, data.asked) == ("refused", code, [])
    (refused,) = await entries(console)
    assert (refused["outcome"], refused["gateway"], refused["target"]) == ("refused", gateway, target)
    assert refused["facts"]["code"] == code


async def test_a_gateway_without_a_data_session_is_away(console: Console) -> None:
    data = await data_of(await paired_appliance(console))
    async with tunnel(console) as session:
        _, reply = await reach(session)

    assert (reply.code, data.asked) == ("gateway.away", [])


@pytest.mark.attack(20)
async def test_another_tenants_gateway_is_answered_as_one_that_is_not_there(console: Console) -> None:
    stranger = await console.add_tenant("stranger")
    async with data_open(console) as data, tunnel(console, key=stranger) as session:
        _, theirs = await reach(session, gateway="dc1")
        _, nobodys = await reach(session, gateway="dc2")

    assert theirs.detail.replace("dc1", "dc2") == nobodys.detail
    assert (theirs.code, theirs.remedy, data.asked) == (nobodys.code, nobodys.remedy, [])
    assert await entries(console) == []
    assert {one["gateway"] for one in await entries(console, key=stranger)} == {"dc1", "dc2"}


@pytest.mark.attack(20)
async def test_a_gateway_that_takes_anothers_session_id_gets_none_of_its_streams(console: Console) -> None:
    stranger = await console.add_tenant("stranger")
    forger = await data_of(await paired_appliance(console, "dc2", key=stranger))
    async with data_open(console) as data, tunnel(console) as session:
        forger.id = data.id
        async with forger.open():
            await reachable(console, "dc2", key=stranger)
            # Kept open: the forger's session is the one with the fewest streams all the while.
            held = [await reach(session) for _ in range(4)]
            for stream, _ in held:
                assert await exchanged(stream, b"x") == b"x"

    assert (len(data.asked), forger.asked) == (4, [])


@pytest.mark.attack(20)
@pytest.mark.parametrize(
    "query", ["", "?session=", "?session=1&session=2", "?session=../dc1", "?session={id}x", "?session=urn:uuid:{id}"]
)
async def test_a_session_that_does_not_say_which_it_is_is_closed(console: Console, query: str) -> None:
    data = await data_of(await paired_appliance(console))

    async with data.open(query=query.format(id=uuid4())) as session:
        reason = await over(session)

    assert "relay.session_unnamed" in reason.message


@pytest.mark.attack(20)
async def test_an_appliance_that_opens_a_stream_reaches_nothing_and_keeps_its_session(console: Console) -> None:
    data = await data_of(await paired_appliance(console))
    async with data.open() as inbound, tunnel(console) as session:
        await reachable(console)
        with pytest.raises(GatewayError, match="refused policy"):
            await inbound.open(b'{"gateway":"dc1","target":"web"}')
        stream, _ = await reach(session)
        assert await exchanged(stream, b"x") == b"x"


async def over(session: Session) -> GatewayError:
    async with asyncio.timeout(10):
        return await session.closed()


async def cut(stream: Stream, *, within: float = 5.0) -> None:
    """See that an open stream is cut in time."""
    async with asyncio.timeout(within):
        with pytest.raises(GatewayError):
            await stream.read()


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


@pytest.mark.parametrize("key", ["", "pcgkey1_0123456789abcdef_" + "A" * 43])
async def test_nobody_opens_a_tunnel_without_a_key(console: Console, key: str) -> None:
    with pytest.raises(DialError, match="401"):
        async with tunnel(console, key=key or "none"):
            pass


async def test_a_preamble_that_is_none_is_refused_and_harms_no_other_stream(console: Console) -> None:
    async with data_open(console) as data, tunnel(console) as session:
        stream, _ = await reach(session)
        _, said = await session.open(b'{"gateway":"dc1","gateway":"dc2","target":"web"}')
        assert b"stream.not_understood" in said
        assert await exchanged(stream, b"x") == b"x"

    assert len(data.asked) == 1


async def test_offers_that_change_are_known_at_once(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=2, targets=("web",)) as line:
        await line.say(Offers(accounts=["main"], targets=[OfferedTarget(id="db", kind="tcp")]))
        await line.settle()
        shown = (await console.ask("GET", "/api/v1/gateways/dc1/targets")).body

    assert shown == {"gateway": "dc1", "reachable": False, "items": [{"name": "db", "kind": "tcp"}]}


async def test_the_audit_log_is_read_page_by_page_the_newest_first(console: Console) -> None:
    async with data_open(console), tunnel(console) as session:
        for target in ("web", "a", "b", "c"):
            await reach(session, target)
        assert len(await outcomes(console, 4)) >= 4
    everything = await entries(console)

    pages = [page := await entries(console, "?limit=2")]
    while page:
        page = await entries(console, f"?limit=2&before={page[-1]['id']}")
        pages.append(page)

    assert [one for page in pages for one in page] == everything
    assert [one["at"] for one in everything] == sorted((one["at"] for one in everything), reverse=True)
    assert await entries(console, "?gateway=dc9") == []
    assert await entries(console, "?action=tunnel.other") == []
    assert (await console.ask("GET", f"/api/v1/audit?before={uuid4()}")).status == 404


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
        ended, began_entry = await audit.newest(rows, Sought(), limit=9)
    assert (began_entry.outcome, ended.outcome) == (AuditOutcome.BEGAN, AuditOutcome.ENDED)
