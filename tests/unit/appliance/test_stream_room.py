"""This file is the promises of room for streams: so many, and nobody can take all of it."""

from pathlib import Path

from gateway.appliance.room import Room
from tests.unit.appliance.opening import Lookup, exchange, site


async def test_there_is_room_for_so_many_streams_and_their_places_come_back(tmp_path: Path) -> None:
    async with site(tmp_path, room=Room(all=2, per_target=5)) as here:
        first, second = await here.open(), await here.open()
        assert (await here.refused(here.preamble())).code == "stream.busy"
        await exchange(first, b"")
        await here.told("stream.closed")
        assert await exchange(await here.open(), b"x") == b"xbye"
        assert await exchange(second, b"y") == b"ybye"


async def test_one_target_cannot_take_all_the_room(tmp_path: Path) -> None:
    async with site(tmp_path, room=Room(all=5, per_target=1)) as here:
        here.targets.write("other", here.targets.read("echo"))
        first = await here.open()
        assert (await here.refused(here.preamble())).code == "stream.busy"
        assert await exchange(await here.open("other"), b"x") == b"xbye"
        await exchange(first, b"")


async def test_one_user_cannot_take_all_the_room_of_a_target(tmp_path: Path) -> None:
    async with site(tmp_path, room=Room(per_target=2, per_user=1)) as here:
        here.targets.write("other", here.targets.read("echo"))
        first = await here.open()
        reply = await here.refused(here.preamble())
        assert (reply.code, "one user" in reply.detail) == ("stream.busy", True)
        assert await exchange(await here.open("other"), b"x") == b"xbye"
        stream, reply = await here.ask(here.preamble(grant=here.grant(changed={"user": "eve"})))
        assert reply.status == "ok"
        assert await exchange(stream, b"y") == b"ybye"
        await exchange(first, b"")
        await here.told("stream.closed", 3)
        assert await exchange(await here.open(), b"z") == b"zbye"


async def test_a_refused_stream_takes_no_room(tmp_path: Path) -> None:
    async with site(tmp_path, room=Room(all=1, per_target=1), lookup=Lookup([["10.0.0.1"], ["127.0.0.1"]])) as here:
        await here.refused(here.preamble())
        assert await exchange(await here.open(), b"x") == b"xbye"
