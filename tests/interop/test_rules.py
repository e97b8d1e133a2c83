"""This file is where hashicorp/yamux and the profile of docs/protocol.md part: which rule, and what becomes of it."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.tunnel import session as sessions
from gateway.tunnel import windows
from gateway.tunnel.dataline import dial_data
from gateway.tunnel.frames import Reset
from gateway.tunnel.limits import FIRST_WINDOW, MIB, Limits
from gateway.tunnel.mux import NoMoreStreamsError
from gateway.tunnel.roads import DialError
from gateway.tunnel.session import SessionClosedError, StreamRefusedError
from gateway.tunnel.stream import StreamResetError
from tests.interop import foreign, ours
from tests.interop.conftest import Meeting
from tests.interop.credentials import Credentials
from tests.interop.foreign import Foreign, ForeignError
from tests.interop.material import Received, asking
from tests.interop.ours import Ours

SOON = 20.0
GO_AWAY_1 = "yamux protocol error"
"""What hashicorp/yamux says of a session that was ended with GO_AWAY 1."""
BULK = 8 * MIB


async def still_serves(asker: Ours | Foreign) -> bool:
    """Tell whether the session still opens streams and carries bytes."""
    stream, _ = await asker.open(asking("source", bytes=1000))
    return await asker.receive(stream) == Received.whole(1000)


async def sending_for_ever(end: Ours, stream: int) -> None:
    while True:
        await end.send(stream, 1)
        await asyncio.sleep(0.02)


async def ping_in_vain(end: Foreign) -> None:
    with suppress(ForeignError):
        await end.ping()


async def test_rule_frames_one_of_a_whole_window_ends_the_session_unless_a_program_writes_smaller_pieces(
    meeting: Meeting,
) -> None:
    """hashicorp/yamux makes one frame of each Write, as large as the credit."""
    async with meeting() as (our, their):
        stream, _ = await their.open(asking("sink"))
        await their.send(stream, 65536, piece=65536)
        with suppress(ForeignError):  # the header is enough for the end: the rest may find nobody
            await their.send(stream, 65537, piece=65537)
        async with asyncio.timeout(SOON):
            fault = await our.session.closed()
            assert await their.wait_closed() == GO_AWAY_1
    assert fault.code == "tunnel.protocol_broken"
    assert "65537 bytes" in fault.message


async def test_rule_frames_an_end_that_allows_whole_windows_takes_them(meeting: Meeting) -> None:
    async with meeting(limits=Limits(frame=FIRST_WINDOW, window=FIRST_WINDOW)) as (_, their):
        stream, _ = await their.open(asking("echo"))

        async def pushed() -> None:
            await their.send(stream, BULK, piece=MIB)
            await their.finish(stream)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(pushed())
            back = group.create_task(their.receive(stream))
        assert back.result() == Received.whole(BULK)


async def test_rule_opening_a_stream_without_a_preamble_is_reset_in_time_and_no_other(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hashicorp/yamux opens with an empty WINDOW_UPDATE and knows no preamble."""
    monkeypatch.setattr(sessions, "PREAMBLE_LIMIT", 0.2)
    async with meeting() as (_, their):
        stream, _ = await their.open(None)
        assert (await their.receive(stream)).ended == "reset"
        assert await still_serves(their)


async def test_rule_opening_a_preamble_over_its_limit_is_reset(meeting: Meeting) -> None:
    async with meeting() as (_, their):
        with pytest.raises(ForeignError, match="reset"):
            await their.open("x" * 4097)
        assert await still_serves(their)


async def test_rule_opening_a_reply_over_its_limit_is_refused_and_leaves_no_stream_behind(meeting: Meeting) -> None:
    async with meeting() as (our, _):
        with pytest.raises(StreamRefusedError):
            await our.open(asking("babble"))
        assert await our.streams() == 0
        assert await still_serves(our)


async def test_rule_floods_a_257th_stream_that_waits_for_its_reply_is_refused_and_the_others_go_on(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PREAMBLE_LIMIT", 60.0)
    async with meeting() as (our, their):
        waiting = [(await their.open(None))[0] for _ in range(256)]
        stream, _ = await their.open(None)
        assert (await their.receive(stream)).ended == "reset"
        assert await our.streams() == len(waiting)


async def test_rule_floods_more_pings_than_time_and_data_pay_for_end_the_session(meeting: Meeting) -> None:
    """hashicorp/yamux answers any number of them, and asks as often as it is told to."""
    async with meeting() as (our, their), asyncio.timeout(SOON):
        async with asyncio.TaskGroup() as group:
            for _ in range(150):
                group.create_task(ping_in_vain(their))
        assert "PING" in await our.wait_closed()
        assert await their.wait_closed() == GO_AWAY_1


async def test_rule_pings_are_answered_at_once_beside_bulk_that_nobody_reads(meeting: Meeting) -> None:
    async with meeting() as (our, their):
        stream, _ = await their.open(asking("slow"))
        await their.send(stream, FIRST_WINDOW // 2)
        async with asyncio.timeout(SOON):
            assert await their.ping() > 0
        await our.let_read()


async def test_rule_pings_our_markers_come_back_and_tell_the_round_trip(meeting: Meeting) -> None:
    async with meeting() as (our, _):
        stream, _ = await our.open(asking("sink"))
        await our.send(stream, BULK)
        await our.finish(stream)
        await our.read_text(stream)
        pace = our.session.mux.pace
        assert pace.round_trip > 0
        assert pace.arrived > 0


async def test_rule_credit_may_be_more_than_was_used_so_a_window_grows(meeting: Meeting) -> None:
    async with meeting(window=4 * MIB) as (our, their):
        stream, _ = await our.open(asking("slow"))
        async with asyncio.timeout(SOON):
            await our.send(stream, 3 * MIB)  # with nobody reading: all of it is credit
        await their.let_read()
        await our.finish(stream)
        await our.read_text(stream)


async def test_rule_credit_ours_grows_and_the_other_end_uses_it(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "SHORTEST_ROUND_TRIP", SOON)  # so that growing is no matter of speed
    async with meeting() as (our, their):
        stream, _ = await their.open(asking("echo"))
        await their.send(stream, 100)
        window = next(iter(our.session.mux._streams.values())).window
        async with asyncio.TaskGroup() as group:
            group.create_task(their.send(stream, BULK))
            back = group.create_task(their.receive(stream, BULK))
        assert back.result().count == BULK
        assert window.size > FIRST_WINDOW


async def test_rule_resetting_ours_cuts_that_stream_whatever_its_code_and_no_other(meeting: Meeting) -> None:
    async with meeting() as (_, their):
        bystander, _ = await their.open(asking("echo"))
        for code in Reset:
            with pytest.raises(ForeignError, match="reset"):
                await their.open(asking("reset", code=code))
        await their.send(bystander, 1000)
        await their.finish(bystander)
        assert await their.receive(bystander) == Received.whole(1000)


async def test_rule_resetting_theirs_has_no_code_and_comes_when_half_closed_too_long(meeting: Meeting) -> None:
    """hashicorp/yamux has no call for it: it resets what it has closed and the other end has not, after a time."""
    async with meeting(close_timeout="200ms") as (our, _):
        stream, _ = await our.open(asking("farewell", bytes=1000))
        assert await our.receive(stream) == Received.whole(1000)
        async with asyncio.timeout(SOON):
            with pytest.raises(StreamResetError) as caught:
                await sending_for_ever(our, stream)
        assert caught.value.reason is Reset.UNSPECIFIED
        assert await still_serves(our)


async def test_rule_ending_we_send_one_fin_for_hashicorp_ends_the_session_at_a_second(meeting: Meeting) -> None:
    async with meeting() as (our, _):
        stream, _ = await our.open(asking("farewell", bytes=0))
        await our.finish(stream)
        await our.finish(stream)
        await our.receive(stream)
        await our.reset(stream, Reset.CANCELLED)
        assert await still_serves(our)


async def test_rule_going_away_theirs_lets_open_streams_finish_and_takes_no_new_ones(meeting: Meeting) -> None:
    async with meeting() as (our, their):
        stream, _ = await our.open(asking("echo"))
        await their.go_away()
        async with asyncio.timeout(SOON):
            await our.session.going_away.wait()
        with pytest.raises(NoMoreStreamsError):
            await our.open(asking("echo"))
        await our.send(stream, 1000)
        await our.finish(stream)
        assert await our.receive(stream) == Received.whole(1000)


async def test_rule_going_away_ours_lets_open_streams_finish_and_takes_no_new_ones(meeting: Meeting) -> None:
    async with meeting() as (our, their):
        stream, _ = await their.open(asking("echo"))
        await our.go_away()
        async with asyncio.timeout(SOON):
            assert await their.ping() > 0  # its answer comes behind GO_AWAY
            with pytest.raises(ForeignError, match="not accepting"):
                await their.open(asking("echo"))
        await their.send(stream, 1000)
        await their.finish(stream)
        assert await their.receive(stream) == Received.whole(1000)


async def test_a_drain_ends_the_session_once_the_last_stream_has_ended(meeting: Meeting) -> None:
    async with meeting() as (our, their), asyncio.TaskGroup() as group:
        stream, _ = await their.open(asking("echo"))
        draining = group.create_task(our.session.drain(within=SOON))
        await their.send(stream, 1000)
        assert not draining.done()
        await their.finish(stream)
        await their.receive(stream)
        async with asyncio.timeout(SOON):
            await their.wait_closed()


async def test_a_session_that_is_closed_without_go_away_ends_every_stream(meeting: Meeting) -> None:
    """hashicorp/yamux's Close sends no GO_AWAY."""
    async with meeting() as (our, their):
        stream, _ = await our.open(asking("echo"))
        await their.leave()
        async with asyncio.timeout(SOON):
            assert isinstance(await our.session.closed(), SessionClosedError)
        with pytest.raises(SessionClosedError):
            await our.send(stream, 1)


async def test_another_subprotocol_is_not_spoken(built: Path, credentials: Credentials) -> None:
    async with ours.console(credentials) as (url, _):
        with pytest.raises(ForeignError, match="status 400"):
            async with foreign.appliance(built, credentials, url, subprotocol="pcg.yamux.v2"):
                pass
    async with foreign.console(built, credentials, subprotocol="pcg.yamux.v2") as (url, _):
        with pytest.raises(DialError):
            async with dial_data(url, tls=credentials.client):
                pass


async def test_a_stream_that_the_foreign_end_cannot_take_is_refused_here(meeting: Meeting) -> None:
    """After its GO_AWAY hashicorp/yamux answers SYN with RST, without a code."""
    async with meeting() as (our, their):
        await their.go_away()
        with pytest.raises((NoMoreStreamsError, StreamRefusedError)):
            await our.open(asking("echo"))
