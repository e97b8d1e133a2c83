"""This file is the promises of streams to targets: real sessions, real sockets, and a console that signs grants."""

import asyncio
import json
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from gateway.appliance import reach
from gateway.appliance.room import Room
from gateway.appliance.targets import Target
from gateway.kit import loops, supervise
from gateway.kit.errors import Remedy
from gateway.kit.loops import Loop
from gateway.tunnel import stream as tunnel_stream
from gateway.tunnel.frames import Reset
from gateway.tunnel.session import StreamRefusedError
from gateway.tunnel.stream import Stream, StreamResetError
from tests.unit.appliance.opening import Lookup, exchange, read_all, site


async def write_for_ever(stream: Stream) -> None:
    async with asyncio.timeout(10):
        while True:
            await stream.write(b"x")
            await asyncio.sleep(0.005)


async def test_bytes_go_both_ways_and_each_direction_ends_by_itself(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        stream = await here.open()
        content = bytes(range(256)) * 4096
        assert await exchange(stream, content) == content + b"bye"


@pytest.mark.attack(10)
@pytest.mark.parametrize(
    "smuggled",
    [
        "10.0.0.5",
        "10.0.0.5:443",
        "echo@10.0.0.5",
        "0x7f000001.",
        "::ffff:127.0.0.1",
        "echo\n",
        "echo.",
        "ech\u043e",
        "",
    ],
)
async def test_a_host_in_the_place_of_a_target_is_refused_and_logged(tmp_path: Path, smuggled: str) -> None:
    async with site(tmp_path) as here:
        wish = json.loads(here.preamble()) | {"target": smuggled}
        reply = await here.refused(json.dumps(wish).encode())
        await here.told("stream.refused")
        assert here.lookup.asked == []
    assert reply.code == "stream.not_understood"


@pytest.mark.attack(10)
async def test_an_unknown_target_is_refused_and_logged(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        reply = await here.refused(here.preamble("2130706433"))
        (refused,) = await here.told("stream.refused")
    assert (reply.code, refused.act.facts["target"]) == ("stream.target_unknown", "2130706433")


@pytest.mark.attack(19)
@pytest.mark.parametrize("preamble", [b"", b"{}", b'{"v":1,"v":1}', b"[" * 4000, b"\xff", b'{"v":1e400}'], ids=repr)
async def test_a_preamble_that_is_none_is_refused_on_its_stream_alone(tmp_path: Path, preamble: bytes) -> None:
    async with site(tmp_path) as here:
        other = await here.open()
        assert (await here.refused(preamble)).code == "stream.not_understood"
        await here.told("stream.refused")
        assert await exchange(other, b"still here") == b"still herebye"


@pytest.mark.attack(11)
@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (["127.0.0.1"], "127.0.0.1"),
        (["10.0.0.5", "127.0.0.1"], "127.0.0.1"),
        (["10.0.0.5", "169.254.169.254"], "169.254.169.254"),
        (["10.0.0.5", "::ffff:127.0.0.1"], "::ffff:7f00:1"),
        (["10.0.0.5", "10.1.0.5"], "10.1.0.5"),
        (["fe80::1%2"], "fe80::1%2"),
    ],
)
async def test_a_name_that_leads_where_it_must_not_is_refused_whole(
    tmp_path: Path, answer: list[str], named: str
) -> None:
    async with site(tmp_path, lookup=Lookup([answer]), deny=reach.DENY) as here:
        here.targets.write("vc", Target(host="vc.test", port=443, allow=("10.0.0.0/16",)))
        reply = await here.refused(here.preamble("vc"))
        (refused,) = await here.told("stream.refused")
    assert reply.code == "stream.address_refused"
    assert refused.act.facts["address"] == named
    assert not any(address in reply.detail for address in answer)


@pytest.mark.attack(11)
async def test_a_name_is_resolved_once_and_the_address_that_was_judged_is_dialled(tmp_path: Path) -> None:
    lookup = Lookup([["127.0.0.1"], ["127.0.0.2"]])
    deny = (ip_network("127.0.0.2/32"),)
    async with site(tmp_path, lookup=lookup, deny=deny) as here:
        stream = await here.open()
        assert lookup.asked == ["echo.test"]
        assert await exchange(stream, b"x") == b"xbye"
        assert (await here.refused(here.preamble())).code == "stream.address_refused"


@pytest.mark.attack(11)
async def test_the_appliance_itself_is_not_reached(tmp_path: Path) -> None:
    async with site(tmp_path, own=lambda address: address == ip_address("127.0.0.1")) as here:
        assert (await here.refused(here.preamble())).code == "stream.address_refused"


async def test_a_denied_dial_leaves_other_streams_untouched(tmp_path: Path) -> None:
    lookup = Lookup([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]])
    async with site(tmp_path, lookup=lookup, deny=(ip_network("127.0.0.2/32"),)) as here:
        before = await here.open()
        await here.refused(here.preamble())
        after = await here.open()
        for stream in (before, after):
            assert await exchange(stream, b"fine") == b"finebye"


async def test_a_target_that_refuses_is_told_so_and_harms_nobody(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        async with site(tmp_path) as here:
            here.targets.write("shut", Target(host="shut.test", port=port, allow=("127.0.0.0/8",)))
            other = await here.open()
            reply = await here.refused(here.preamble("shut"))
            assert await exchange(other, b"fine") == b"finebye"
    assert (reply.code, reply.remedy) == ("stream.target_unreachable", Remedy.RETRY)
    assert "refused" in reply.detail
    assert "127" not in reply.detail


async def test_the_next_address_is_tried_when_one_does_not_answer(tmp_path: Path) -> None:
    async with site(tmp_path, lookup=Lookup([["127.0.0.9", "127.0.0.1"]])) as here:
        assert await exchange(await here.open(), b"x") == b"xbye"


async def test_a_name_server_that_hangs_is_waited_for_no_longer_than_the_opener_waits(tmp_path: Path) -> None:
    gate = threading.Event()

    class Hanging(Lookup):
        def __call__(self, host: str) -> Sequence[str]:
            gate.wait(10)
            return super().__call__(host)

    async with site(tmp_path, lookup=Hanging()) as here:
        reply = await here.refused(here.preamble(deadline_ms=50))
        gate.set()
    assert (reply.code, "0.05" in reply.detail) == ("stream.target_unreachable", True)


async def test_a_name_without_an_address_is_told_so(tmp_path: Path) -> None:
    class Nameless(Lookup):
        def __call__(self, host: str) -> Sequence[str]:
            raise socket.gaierror(-2, "Name or service not known")

    async with site(tmp_path, lookup=Nameless()) as here:
        assert "cannot be resolved" in (await here.refused(here.preamble())).detail


async def test_a_stream_that_the_opener_cuts_is_closed_and_told(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        stream = await here.open()
        stream.reset(Reset.CANCELLED)
        (closed,) = await here.told("stream.closed")
    assert closed.act.outcome == "failed"


async def test_a_refused_stream_that_nobody_ends_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel_stream, "FAREWELL", 0.02)
    async with site(tmp_path) as here:
        stream, reply = await here.ask(b"{}")
        assert reply.status == "refused"
        assert await read_all(stream) == b""
        with pytest.raises(StreamResetError):
            await write_for_ever(stream)


async def test_a_removed_target_takes_its_streams_with_it(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.targets.write("other", here.targets.read("echo"))
        stays = await here.open("other")
        stream = await here.open()
        here.targets.remove("echo")
        async with supervise.running(watch=here.service.run()):
            with pytest.raises(StreamResetError, match="refused policy"):
                await read_all(stream)
            assert await exchange(stays, b"x") == b"xbye"


async def test_however_many_streams_a_target_has_it_is_looked_at_once_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path) as here:
        opened = [await here.open() for _ in range(5)]
        read, rounds = here.targets.read, asyncio.Event()
        names: list[str] = []

        def counted(name: str) -> Target:
            names.append(name)
            return read(name)

        async def one_round(_seconds: float) -> None:
            if names:
                rounds.set()
                await asyncio.Event().wait()

        monkeypatch.setattr(here.targets, "read", counted)
        monkeypatch.setattr(here.clock, "sleep", one_round)
        async with supervise.running(watch=here.service.run()), asyncio.timeout(10):
            await rounds.wait()
        assert names == ["echo"]
        for stream in opened:
            await exchange(stream, b"")


async def test_who_gives_up_while_the_target_is_looked_for_leaves_nothing_open(tmp_path: Path) -> None:
    gate = threading.Event()

    class Slow(Lookup):
        def __call__(self, host: str) -> Sequence[str]:
            gate.wait(10)
            return super().__call__(host)

    async with site(tmp_path, lookup=Slow(), room=Room(all=1, per_target=1)) as here:
        with pytest.raises(StreamRefusedError):
            await here.console.open(here.preamble(), within=0.05)
        gate.set()
        (refused,) = await here.told("stream.refused")
        assert await exchange(await here.open(), b"x") == b"xbye"
    assert refused.act.facts["code"] == "stream.abandoned"


async def test_a_session_that_is_lost_while_a_target_is_looked_for_is_told(tmp_path: Path) -> None:
    gate = threading.Event()

    class Slow(Lookup):
        def __call__(self, host: str) -> Sequence[str]:
            gate.wait(10)
            return super().__call__(host)

    async with site(tmp_path, lookup=Slow()) as here:
        with pytest.raises(StreamRefusedError):
            await here.console.open(here.preamble(), within=0.05)
        await here.console.close()
        gate.set()
    assert [entry.act.facts["code"] for entry in here.entries()] == ["stream.abandoned"]


@pytest.mark.parametrize("kind", list(Loop))
def test_streams_are_served_alike_on_every_event_loop(tmp_path: Path, kind: Loop) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        shut = Target(host="shut.test", port=reserved.getsockname()[1], allow=("127.0.0.0/8",))

        async def served() -> None:
            async with site(tmp_path, lookup=Lookup([["127.0.0.9", "127.0.0.1"]])) as here:
                here.targets.write("shut", shut)
                assert await exchange(await here.open(), b"x" * 100_000) == b"x" * 100_000 + b"bye"
                assert "connection refused" in (await here.refused(here.preamble("shut"))).detail

        try:
            loops.factory(kind)
        except ImportError:
            pytest.skip(f"{kind} is not installed")
        loops.run(served(), kind=kind)
