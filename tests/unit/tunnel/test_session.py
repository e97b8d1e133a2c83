"""This file is the promises of a data session, over real mutual TLS and on every event loop."""

import asyncio
import hashlib
import os

import pytest

from gateway.tunnel.frames import Reset
from gateway.tunnel.limits import KIB, LAST_ID, MIB, RENEWED_AT
from gateway.tunnel.mux import NoMoreStreamsError
from gateway.tunnel.schedule import Lane
from gateway.tunnel.session import Session, SessionClosedError, StreamRefusedError
from gateway.tunnel.stream import BlockBrokenError, Stream, StreamResetError
from tests.fakes.ends import Ends
from tests.unit.tunnel.sessions import echo, joined, on_every_loop, read_to_end, until


@on_every_loop
async def test_a_stream_is_opened_with_a_preamble_and_answered(ends: Ends) -> None:
    async with joined(ends, on_stream=echo) as (session, _):
        stream, reply = await session.open(b"what it is for")
        assert reply == b"what it is for"
        await stream.write(b"hello")
        stream.end()
        assert await read_to_end(stream) == b"hello"
        assert (session.streams, stream.sent, stream.received) == (0, 16 + 5, 16 + 5)


@on_every_loop
async def test_either_end_opens_streams_and_sees_whom_it_talks_to(ends: Ends) -> None:
    async with joined(ends) as (dialler, acceptor):
        assert dialler.peer_certificate
        assert acceptor.peer_certificate not in {b"", dialler.peer_certificate}
        assert acceptor.peer_address == "127.0.0.1"
        for session in (dialler, acceptor):
            with pytest.raises(StreamRefusedError) as refused:
                await session.open(b"")
            assert refused.value.reason is Reset.REFUSED_POLICY


async def deny_or_echo(stream: Stream, preamble: bytes) -> None:
    if preamble == b"denied":
        stream.reset(Reset.REFUSED_POLICY)
    elif preamble == b"broken":
        raise RuntimeError("a handler with a fault")
    else:
        await echo(stream, preamble)


@on_every_loop
async def test_a_denied_dial_or_a_broken_handler_leaves_every_other_stream_untouched(ends: Ends) -> None:
    async with joined(ends, on_stream=deny_or_echo) as (session, _):
        others = [(await session.open(b"other"))[0] for _ in range(5)]
        for preamble, reason in ((b"denied", Reset.REFUSED_POLICY), (b"broken", Reset.INTERNAL)):
            with pytest.raises(StreamRefusedError) as refused:
                await session.open(preamble)
            assert refused.value.reason is reason
        for stream in others:
            await stream.write(b"still there")
            stream.end()
            assert await read_to_end(stream) == b"still there"


@on_every_loop
async def test_who_has_ended_still_receives_and_who_was_told_so_still_sends(ends: Ends) -> None:
    async def answer_after_the_end(stream: Stream, _: bytes) -> None:
        stream.answer(b"")
        said = await read_to_end(stream)
        await stream.write(said * 3)
        stream.end()

    async with joined(ends, on_stream=answer_after_the_end) as (session, _):
        stream, _reply = await session.open(b"")
        await stream.write(b"a" * 100_000)
        stream.end()
        assert await read_to_end(stream) == b"a" * 300_000


async def both_ways(ends: Ends, size: int) -> None:
    """Send `size` bytes each way on one stream at once and compare hashes."""
    block = os.urandom(MIB)
    sums: dict[str, str] = {}

    async def send(stream: Stream) -> None:
        for _ in range(size // MIB):
            await stream.write(block)
        stream.end()

    async def receive(stream: Stream, who: str) -> None:
        digest, count = hashlib.sha256(), 0
        while piece := await stream.read(MIB):
            digest.update(piece)
            count += len(piece)
        assert count == size
        sums[who] = digest.hexdigest()

    async def exchange(stream: Stream, who: str) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(send(stream))
            group.create_task(receive(stream, who))

    async def serve(stream: Stream, _: bytes) -> None:
        stream.answer(b"")
        await exchange(stream, "there")

    async with joined(ends, on_stream=serve) as (session, _):
        stream, _reply = await session.open(b"")
        await exchange(stream, "here")
    wanted = hashlib.sha256()
    for _ in range(size // MIB):
        wanted.update(block)
    assert sums == dict.fromkeys(("here", "there"), wanted.hexdigest())


@on_every_loop
async def test_two_way_bulk_on_one_stream_completes_and_is_whole(ends: Ends) -> None:
    await both_ways(ends, 64 * MIB)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
async def test_a_gibibyte_each_way_on_one_stream_completes_and_is_whole(ends: Ends) -> None:
    await both_ways(ends, 1024 * MIB)


@on_every_loop
async def test_a_reader_that_rests_does_not_hold_up_the_stream_beside_it(ends: Ends) -> None:
    awake = asyncio.Event()

    async def serve(stream: Stream, preamble: bytes) -> None:
        stream.answer(b"")
        if preamble == b"rests":
            await awake.wait()
        said = await read_to_end(stream)
        await stream.write(hashlib.sha256(said).digest())
        stream.end()

    async def talk(session: Session, preamble: bytes) -> bytes:
        stream, _ = await session.open(preamble)
        for _ in range(8):
            await stream.write(b"x" * MIB)
        stream.end()
        return await read_to_end(stream)

    async with joined(ends, on_stream=serve) as (session, _), asyncio.TaskGroup() as group:
        rests = group.create_task(talk(session, b"rests"))
        wanted = hashlib.sha256(b"x" * 8 * MIB).digest()
        assert await talk(session, b"goes") == wanted
        assert not rests.done()
        awake.set()
        assert await rests == wanted


@on_every_loop
async def test_a_reset_reaches_the_other_end_with_its_reason_from_either_side(ends: Ends) -> None:
    seen: asyncio.Queue[Reset] = asyncio.Queue()

    async def serve(stream: Stream, preamble: bytes) -> None:
        stream.answer(b"")
        if preamble == b"cut by you":
            stream.reset(Reset.TARGET_UNREACHABLE)
            return
        with pytest.raises(StreamResetError) as cut:
            await stream.read()
        seen.put_nowait(cut.value.reason)

    async with joined(ends, on_stream=serve) as (session, _):
        stream, _reply = await session.open(b"cut by me")
        stream.reset(Reset.IDLE)
        assert await seen.get() is Reset.IDLE
        for use in (stream.read, lambda: stream.write(b"late")):
            with pytest.raises(StreamResetError):
                await use()

        async def open_and_read() -> None:
            await (await session.open(b"cut by you"))[0].read()

        fault = await _fault_of(open_and_read())
        assert isinstance(fault, StreamResetError | StreamRefusedError)
        assert fault.reason is Reset.TARGET_UNREACHABLE
        assert session.streams == 0


@on_every_loop
async def test_a_peer_that_is_killed_ends_everything_that_waits_and_says_so(ends: Ends) -> None:
    async with joined(ends, on_stream=echo) as (session, other):
        stream, _ = await session.open(b"")
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_fault_of(stream.read()))
            other.carrier.abort()
            assert isinstance(await reading, SessionClosedError)
        assert isinstance(await session.closed(), SessionClosedError)
        for use in (stream.write(b""), session.open(b"")):
            assert isinstance(await _fault_of(use), SessionClosedError)
        await session.drain(within=30)


async def _fault_of(work: object) -> BaseException | None:
    try:
        await work  # type: ignore[misc]
    except (SessionClosedError, StreamResetError, StreamRefusedError) as fault:
        return fault
    return None


@on_every_loop
async def test_a_drain_lets_streams_finish_and_opens_no_new_ones(ends: Ends) -> None:
    async with joined(ends, on_stream=echo) as (session, other):
        stream, _ = await session.open(b"")
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(other.drain(within=30))
            await session.going_away.wait()
            with pytest.raises(NoMoreStreamsError):
                await session.open(b"late")
            await stream.write(b"y" * 100 * KIB)
            stream.end()
            assert await read_to_end(stream) == b"y" * 100 * KIB
            await draining
        await session.closed()


@on_every_loop
async def test_a_drain_delivers_what_an_ended_stream_had_still_queued(ends: Ends) -> None:
    ended = asyncio.Event()

    async def serve(stream: Stream, _: bytes) -> None:
        stream.answer(b"")
        await stream.read()
        stream.offer(b"z" * 8 * MIB)
        stream.end()
        ended.set()

    async with joined(ends, on_stream=serve) as (session, other):
        stream, _ = await session.open(b"")
        stream.end()
        async with asyncio.TaskGroup() as group:
            await ended.wait()
            draining = group.create_task(other.drain(within=30))
            assert len(await read_to_end(stream)) == 8 * MIB
            await draining


@on_every_loop
async def test_a_drain_that_takes_too_long_cuts_what_is_left(ends: Ends) -> None:
    async with joined(ends, on_stream=echo) as (session, other):
        stream, _ = await session.open(b"")
        await other.drain(within=0.1)
        assert isinstance(await _fault_of(stream.read()), SessionClosedError)


@on_every_loop
async def test_who_is_cancelled_while_waiting_leaves_the_session_as_it_was(ends: Ends) -> None:
    async def never(stream: Stream, preamble: bytes) -> None:
        if preamble == b"answered":
            stream.answer(b"")
        await asyncio.Event().wait()

    async with joined(ends, on_stream=never) as (session, other):
        stream, _ = await session.open(b"answered")

        async def fill() -> None:
            while True:
                await stream.write(b"x" * 64 * KIB)

        for work in (session.open(b"never"), stream.read(), fill(), session.closed()):
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(work)
                await asyncio.sleep(0.05)
                waiting.cancel()
        await until(lambda: other.streams == 1)
        assert session.streams == 1


@on_every_loop
async def test_who_is_cancelled_while_draining_or_closing_leaves_nothing(ends: Ends) -> None:
    for end in ("drain", "close"):
        async with joined(ends, on_stream=echo) as (session, other):
            await session.open(b"")
            other.carrier._transport.pause_reading()  # type: ignore[attr-defined] # a peer that answers nothing
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(session.drain() if end == "drain" else session.close())
                await asyncio.sleep(0.05)
                waiting.cancel()
            other.carrier.abort()


@on_every_loop
async def test_all_who_write_on_one_stream_go_on_when_there_is_room(ends: Ends) -> None:
    async def count(stream: Stream, _: bytes) -> None:
        stream.answer(b"")
        await stream.write(str(len(await read_to_end(stream))).encode())
        stream.end()

    async with joined(ends, on_stream=count) as (session, _):
        stream, _reply = await session.open(b"")

        async def write() -> None:
            for _ in range(8):
                await stream.write(b"x" * 256 * KIB)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(write())
        stream.end()
        assert await read_to_end(stream) == str(8 * MIB).encode()


@on_every_loop
async def test_a_preamble_that_does_not_fit_is_refused_here_and_costs_no_stream(ends: Ends) -> None:
    async with joined(ends, on_stream=echo) as (session, _):
        with pytest.raises(BlockBrokenError):
            await session.open(b"x" * 4097)
        assert (session.streams, session.mux.streams) == (0, 0)
        with pytest.raises(StreamRefusedError) as refused:
            await session.open(b"x" * 4096)  # read there, but no reply is as long
        assert refused.value.reason is Reset.INTERNAL
        assert session.streams == 0


@on_every_loop
async def test_an_answer_that_does_not_come_in_time_frees_both_ends(ends: Ends) -> None:
    async def silent(stream: Stream, _: bytes) -> None:
        with pytest.raises(StreamResetError):
            await stream.read()

    async with joined(ends, on_stream=silent) as (session, other):
        with pytest.raises(StreamRefusedError) as refused:
            await session.open(b"", lane=Lane.INTERACTIVE, within=0.1)
        assert refused.value.reason is Reset.TIMEOUT
        await until(lambda: other.streams == 0)
        assert (session.streams, session.mux.streams, other.mux.streams) == (0, 0, 0)


@on_every_loop
async def test_both_ends_know_the_round_trip_before_any_bulk(ends: Ends) -> None:
    """Else the window of who only receives would never grow on a long road."""
    async with joined(ends) as (session, other):
        await until(lambda: session.mux.pace.round_trip and other.mux.pace.round_trip)


@on_every_loop
async def test_a_stream_that_is_over_is_kept_until_it_is_read_or_dropped(ends: Ends) -> None:
    async with joined(ends, on_stream=echo) as (session, _):
        streams = [(await session.open(b""))[0] for _ in range(2)]
        for stream in streams:
            await stream.write(b"x" * 100_000)
            stream.end()
        await until(lambda: all(stream.over_since is not None for stream in streams))
        await until(lambda: session.mux.streams == 0)
        assert (session.streams, session.mux.held) == (2, 200_000)
        streams[0].reset()
        assert (session.streams, session.mux.held) == (1, 100_000)
        with pytest.raises(StreamResetError):
            await streams[0].read()
        assert len(await read_to_end(streams[1])) == 100_000
        assert (session.streams, session.mux.held) == (0, 0)


@on_every_loop
async def test_a_session_says_when_its_ids_run_low_and_goes_away_before_they_have_run_out(ends: Ends) -> None:
    async with joined(ends, on_stream=echo) as (session, other):
        await session.open(b"")
        assert not session.worn.is_set()
        session.mux._next_id = RENEWED_AT + 1
        stream, _reply = await session.open(b"")
        assert session.worn.is_set()
        assert other.worn.is_set()
        assert not session.going_away.is_set()
        session.mux._next_id = LAST_ID + 1
        await session.open(b"")
        assert session.going_away.is_set()
        await other.going_away.wait()
        with pytest.raises(NoMoreStreamsError):
            await session.open(b"")
        await stream.write(b"this one goes on")
        stream.end()
        assert await read_to_end(stream) == b"this one goes on"
