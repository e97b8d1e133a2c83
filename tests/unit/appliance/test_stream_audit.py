"""This file is the promises of what the audit log says of streams: before the target hears of it, and to the end."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.appliance import streams
from gateway.appliance.audit import AuditLog, AuditNotWrittenError
from gateway.appliance.room import Room
from gateway.appliance.targets import Target
from gateway.audit.lines import Act
from gateway.kit import supervise
from gateway.kit.errors import Remedy
from tests.fakes.clock import HandClock
from tests.unit.appliance.opening import SESSION, Lookup, exchange, site


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


async def test_streams_that_a_lost_session_ends_are_told(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.open()
        await here.console.close()
    assert [entry.act.action for entry in here.entries()] == ["stream.opening", "stream.opened", "stream.closed"]


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
