"""This file is what the console promises to who opens streams, and to who owns what they lead to; over real TLS."""

import asyncio
import hashlib
import secrets
from uuid import uuid4

import pytest

from gateway.contract.messages import Offers
from gateway.contract.streams import OfferedTarget
from gateway.kit.errors import GatewayError
from gateway.tunnel.roads import DialError
from gateway.tunnel.stream import Stream
from tests.fakes.console import Console, paired_appliance
from tests.fakes.targets import DENIED, data_of, exchanged, reach, tunnel
from tests.unit.console.reaching import OF_STREAMS, data_open, entries, outcomes, over, reachable


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
    assert "ended" in await outcomes(console, 5), "nothing is added any more"
    everything = await entries(console)

    pages = [page := await entries(console, f"{OF_STREAMS}&limit=2")]
    while page:
        page = await entries(console, f"{OF_STREAMS}&limit=2&before={page[-1]['id']}")
        pages.append(page)

    assert [one for page in pages for one in page] == everything
    assert [one["at"] for one in everything] == sorted((one["at"] for one in everything), reverse=True)
    assert await entries(console, "?gateway=dc9") == []
    assert await entries(console, "?action=tunnel.other") == []
    assert (await console.ask("GET", f"/api/v1/audit?before={uuid4()}")).status == 404
