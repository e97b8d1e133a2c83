"""This file is the promises of streams to targets: real sessions, real sockets, and a console that signs grants."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.appliance import reach, streams
from gateway.appliance.audit import AuditLog, AuditNotWrittenError
from gateway.appliance.auditlines import Act
from gateway.appliance.room import Room
from gateway.appliance.targets import Target
from gateway.kit import loops, supervise
from gateway.kit.errors import Remedy
from gateway.kit.loops import Loop
from gateway.tunnel.frames import Reset
from gateway.tunnel.session import StreamRefusedError
from gateway.tunnel.stream import Stream, StreamResetError
from tests.fakes.clock import HandClock
from tests.unit.appliance.opening import SESSION, Lookup, exchange, read_all, site


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


async def test_what_was_done_is_in_the_audit_log_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        preamble = here.preamble()
        stream, reply = await here.ask(preamble)
        (opening,) = await here.told("stream.opening")
        (opened,) = await here.told("stream.opened")
        await exchange(stream, b"12345")
        (closed,) = await here.told("stream.closed")
    trace = json.loads(preamble)["trace"]
    facts = opening.act.facts
    assert (facts["user"], facts["tenant"], facts["target"], facts["address"]) == (
        "ada",
        "default",
        "echo",
        "127.0.0.1",
    )
    assert (facts["trace"], facts["session"], facts["connection"]) == (trace, SESSION, str(reply.connection_id))
    facts = opened.act.facts
    assert (facts["user"], facts["target"], facts["address"], facts["trace"]) == ("ada", "echo", "127.0.0.1", trace)
    assert facts["connection"] == str(reply.connection_id)
    assert (closed.act.facts["connection"], closed.act.outcome) == (str(reply.connection_id), "ok")
    assert (closed.act.facts["received"], closed.act.facts["sent"]) == (5, 8)
    assert here.log.verify().broken is None


async def test_nothing_is_answered_before_it_is_in_the_audit_log(tmp_path: Path) -> None:
    gate, written = threading.Event(), list[str]()

    def slowly(acts: Sequence[Act]) -> None:
        gate.wait(10)
        written.extend(act.action for act in acts)

    async with site(tmp_path, append=slowly) as here, asyncio.TaskGroup() as group:
        opening = group.create_task(here.open())
        await asyncio.sleep(0.05)
        assert not opening.done()
        gate.set()
        await opening
        assert written[0] == "stream.opening"


@asynccontextmanager
async def a_counting_target() -> AsyncIterator[tuple[Target, list[str]]]:
    """Yield a target on loopback and the connections that it has seen."""
    seen: list[str] = []

    async def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append("connection")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(count, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield Target(host="counting.test", port=port, allow=("127.0.0.0/8",)), seen


async def test_a_target_sees_nothing_of_a_stream_that_cannot_be_audited(tmp_path: Path) -> None:
    def full(_acts: Sequence[Act]) -> None:
        raise AuditNotWrittenError("the disk is full")

    async with a_counting_target() as (target, seen), site(tmp_path, append=full) as here:
        here.targets.write("counting", target)
        assert (await here.refused(here.preamble("counting"))).code == "audit.not_written"
        await asyncio.sleep(0.05)
        assert seen == []


async def test_the_address_is_in_the_log_before_the_target_hears_of_it(tmp_path: Path) -> None:
    gate, written = threading.Event(), list[Act]()

    def slowly(acts: Sequence[Act]) -> None:
        gate.wait(10)
        written.extend(acts)

    async with a_counting_target() as (target, seen), site(tmp_path, append=slowly) as here:
        here.targets.write("counting", target)
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(here.open("counting"))
            await asyncio.sleep(0.05)
            assert (seen, written) == ([], [])
            gate.set()
            stream = await opening
        assert (written[0].action, written[0].facts["address"]) == ("stream.opening", "127.0.0.1")
        await exchange(stream, b"")


async def test_an_opening_that_comes_to_nothing_is_told_to_its_end_even_in_a_flood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "REFUSALS_AT_ONCE", 0)
    async with site(tmp_path, lookup=Lookup([["127.0.0.9"]])) as here:
        await here.refused(here.preamble())
        (opening,) = await here.told("stream.opening")
        (refused,) = await here.told("stream.refused")
    assert refused.act.facts["connection"] == opening.act.facts["connection"]


async def test_the_end_of_a_stream_is_written_once_the_disk_has_room_again(tmp_path: Path) -> None:
    log, full = AuditLog(tmp_path, clock=HandClock()), False

    def append(acts: Sequence[Act]) -> None:
        if full:
            raise AuditNotWrittenError("the disk is full")
        log.append(acts)

    async with site(tmp_path, append=append) as here:
        stream = await here.open()
        await here.told("stream.opened")
        full = True
        with capture_logs() as said:
            await exchange(stream, b"12345")
            assert (await here.refused(here.preamble())).code == "audit.not_written"
        full = False
        async with supervise.running(service=here.service.run()):
            (closed,) = await here.told("stream.closed")
    assert closed.act.facts["received"] == 5
    assert [one["log_level"] for one in said if "cannot be written" in one["event"]] == ["error"]


async def test_what_cannot_be_audited_is_refused(tmp_path: Path) -> None:
    def full(_acts: Sequence[Act]) -> None:
        raise AuditNotWrittenError("the disk is full")

    async with site(tmp_path, append=full) as here:
        reply = await here.refused(here.preamble())
    assert (reply.code, reply.remedy) == ("audit.not_written", Remedy.OPERATOR)


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


@pytest.mark.attack(13)
async def test_a_flood_of_openings_pushes_nothing_out_of_the_log(tmp_path: Path) -> None:
    async with site(tmp_path, room=Room(openings_a_second=1, openings_at_once=3)) as here:
        for _ in range(3):
            await exchange(await here.open(), b"")
        reply = await here.refused(here.preamble())
        assert (reply.code, "a second" in reply.detail) == ("stream.busy", True)
        here.clock.seconds += 1
        await exchange(await here.open(), b"")
        assert len(await here.told("stream.opening", 4)) == 4


async def test_a_refused_stream_takes_no_room(tmp_path: Path) -> None:
    async with site(tmp_path, room=Room(all=1, per_target=1), lookup=Lookup([["10.0.0.1"], ["127.0.0.1"]])) as here:
        await here.refused(here.preamble())
        assert await exchange(await here.open(), b"x") == b"xbye"


async def test_a_stream_that_the_opener_cuts_is_closed_and_told(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        stream = await here.open()
        stream.reset(Reset.CANCELLED)
        (closed,) = await here.told("stream.closed")
    assert closed.act.outcome == "failed"


async def test_streams_that_a_lost_session_ends_are_told(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.open()
        await here.console.close()
    assert [entry.act.action for entry in here.entries()] == ["stream.opening", "stream.opened", "stream.closed"]


async def test_a_refused_stream_that_nobody_ends_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FAREWELL", 0.02)
    async with site(tmp_path) as here:
        stream, reply = await here.ask(b"{}")
        assert reply.status == "refused"
        assert await read_all(stream) == b""
        with pytest.raises(StreamResetError):
            await write_for_ever(stream)


@pytest.mark.attack(13)
async def test_a_flood_of_refusals_pushes_nothing_out_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "REFUSALS_AT_ONCE", 3)
    async with site(tmp_path) as here:
        for _ in range(8):
            assert (await here.refused(b"{}")).code == "stream.not_understood"
        here.clock.seconds += 1
        await here.refused(b"{}")
        told = await here.told("stream.refused", 4)
    assert [entry.act.facts.get("untold") for entry in told] == [None, None, None, 5]


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


@pytest.mark.attack(23)
async def test_what_a_console_says_cannot_write_lines_into_our_log(tmp_path: Path) -> None:
    user = "ada \u202e\u2066x\u00e9"
    async with site(tmp_path) as here:
        stream, _ = await here.ask(here.preamble(grant=here.grant(changed={"user": user})))
        await exchange(stream, b"")
        await here.told("stream.closed")
    content = (tmp_path / "audit.log").read_bytes()
    assert all(0x20 <= byte < 0x7F or byte == 0x0A for byte in content)
    assert here.entries()[0].act.facts["user"] == user


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
