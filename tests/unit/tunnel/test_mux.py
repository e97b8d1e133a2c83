"""This file is the promises of one mux beside another, each of them alone; the machine beside it mixes them."""

import pytest

from gateway.tunnel import frames
from gateway.tunnel.frames import Reset
from gateway.tunnel.limits import KIB, MIB, Limits
from gateway.tunnel.mux import NoMoreStreamsError
from gateway.tunnel.schedule import Lane
from tests.unit.tunnel.model import Pair


def opened(pair: Pair, lane: Lane = Lane.AUTO, size: int = 10) -> int:
    """Let the dialler open a stream and the acceptor answer it."""
    stream = pair.dialler.open(pair.now, lane)
    pair.dialler.send(stream, size, pair.now)
    pair.exchange()
    pair.acceptor.mux.answered(stream)
    return stream


@pytest.mark.parametrize(("first", "second"), [(Lane.BULK, Lane.INTERACTIVE), (Lane.AUTO, Lane.AUTO)])
def test_streams_are_told_of_in_the_order_of_their_ids_whatever_goes_first(first: Lane, second: Lane) -> None:
    pair = Pair()
    waits = pair.dialler.open(0.0, first)
    overtakes = pair.dialler.open(0.0, second)
    pair.dialler.send(overtakes, 10, 0.0)
    pair.exchange()
    pair.dialler.send(waits, 10, 0.0)
    pair.exchange()
    assert pair.acceptor.theirs == [waits, overtakes]
    assert pair.acceptor.came == {waits: 10, overtakes: 10}


def test_a_stream_that_ends_before_it_says_anything_overtakes_none() -> None:
    pair = Pair()
    waits, ends = pair.dialler.open(0.0), pair.dialler.open(0.0)
    pair.dialler.send(waits, 10, 0.0)
    pair.dialler.end(ends, 0.0)
    pair.exchange()
    assert pair.acceptor.theirs == [waits, ends]


def test_a_stream_that_was_reset_unheard_of_is_never_told_of() -> None:
    pair = Pair()
    first, second = pair.dialler.open(0.0), pair.dialler.open(0.0)
    pair.dialler.reset(first)
    pair.dialler.send(second, 10, 0.0)
    pair.exchange()
    assert pair.acceptor.theirs == [second]


def test_each_direction_ends_by_itself_and_the_other_goes_on() -> None:
    pair = Pair()
    stream = opened(pair)
    pair.dialler.end(stream, pair.now)
    pair.exchange()
    assert pair.acceptor.peer_ends == {stream}
    pair.acceptor.send(stream, MIB, pair.now)
    pair.acceptor.end(stream, pair.now)
    pair.exchange()
    assert pair.dialler.came[stream] == MIB
    assert pair.dialler.peer_ends == {stream}
    assert [end.mux.streams for end in pair.ends] == [0, 0]


def test_a_reset_of_one_stream_leaves_the_others() -> None:
    pair = Pair()
    streams = [opened(pair) for _ in range(5)]
    for stream in streams:
        pair.dialler.send(stream, 300 * KIB, pair.now)
    pair.take(pair.dialler)
    pair.acceptor.reset(streams[2], Reset.TARGET_UNREACHABLE)
    pair.exchange()
    assert pair.dialler.resets == {streams[2]: Reset.TARGET_UNREACHABLE}
    assert [pair.acceptor.came[stream] for stream in streams if stream != streams[2]] == [300 * KIB + 10] * 4


def test_a_reader_that_rests_holds_up_its_own_stream_only() -> None:
    pair = Pair()
    rests, goes = opened(pair), opened(pair)
    pair.dialler.send(rests, MIB, pair.now)
    pair.dialler.send(goes, 4 * MIB, pair.now)
    while pair.acceptor.came[goes] < 4 * MIB + 10:
        before = pair.acceptor.came[goes]
        pair.exchange(reading=False)
        pair.acceptor.read(goes, 8 * MIB, pair.now)
        assert pair.acceptor.came[goes] > before
    assert pair.acceptor.came[rests] == 256 * KIB
    pair.exchange()
    assert pair.acceptor.came[rests] == MIB + 10


def test_going_away_lets_streams_finish_and_opens_no_new_ones() -> None:
    pair = Pair()
    stream = opened(pair)
    pair.acceptor.mux.go_away()
    late = pair.dialler.open(pair.now)
    pair.dialler.send(late, 10, pair.now)
    with pytest.raises(NoMoreStreamsError):
        pair.acceptor.open(pair.now)
    pair.exchange()
    assert pair.dialler.gone_away == [0]
    assert pair.dialler.resets == {late: Reset.BUSY}
    pair.dialler.send(stream, MIB, pair.now)
    pair.dialler.end(stream, pair.now)
    pair.acceptor.send(stream, MIB, pair.now)
    pair.acceptor.end(stream, pair.now)
    pair.exchange()
    assert pair.dialler.came[stream] == MIB
    assert [end.mux.streams for end in pair.ends] == [0, 0]


@pytest.mark.attack(16)
def test_an_end_that_is_said_twice_is_heard_once() -> None:
    pair = Pair()
    stream = opened(pair)
    for _ in range(3):
        pair.acceptor.receive(frames.pack(frames.DATA, frames.FIN, stream, 0), pair.now)
    assert pair.acceptor.peer_ends == {stream}
    pair.acceptor.send(stream, 10, pair.now)
    pair.exchange()
    assert pair.dialler.came[stream] == 10


@pytest.mark.attack(14)
def test_200_readers_that_rest_cost_the_budget_and_cost_no_one_else_his_stream() -> None:
    budget = 16 * MIB
    pair = Pair(acceptor=Limits(budget=budget))
    shell, bulk = opened(pair), opened(pair)
    stalled = [opened(pair) for _ in range(100)]
    for stream in stalled:
        pair.now += 0.01
        pair.dialler.send(stream, 4 * MIB, pair.now)
    pair.dialler.send(bulk, 4 * MIB, pair.now)
    for _ in range(1000):
        for end in pair.ends:
            pair.take(end)
            pair.deliver(end)
        pair.acceptor.read(bulk, 8 * MIB, pair.now)
        pair.now += 0.01
        assert pair.acceptor.mux.held <= budget
        if not pair.acceptor.unread[shell]:  # idle since the beginning, and its reader is never late
            pair.dialler.send(shell, 10, pair.now)
        else:
            pair.acceptor.read(shell, 10, pair.now)
    assert pair.acceptor.came[bulk] == 4 * MIB + 10
    assert pair.acceptor.came[shell] > 1000
    assert set(pair.acceptor.resets.values()) == {Reset.BUSY}
    assert len(pair.acceptor.resets) >= 36
    assert not {shell, bulk} & set(pair.acceptor.resets)


@pytest.mark.attack(14)
def test_all_that_is_over_the_budget_is_cut_at_once() -> None:
    """Many that hold little must not make room for one that holds much."""
    pair = Pair(acceptor=Limits(budget=MIB))
    for _ in range(50):
        pair.dialler.send(opened(pair), 1, pair.now)
    hungry = [opened(pair) for _ in range(8)]
    pair.exchange(reading=False)
    for stream in hungry:
        pair.dialler.send(stream, 256 * KIB, pair.now)
    while pair.take(pair.dialler, 4 * MIB):
        pair.deliver(pair.dialler)  # as one message
        assert pair.acceptor.mux.held <= MIB
        pair.take(pair.acceptor)
        pair.deliver(pair.acceptor)


def test_credit_that_waits_to_be_told_is_told_once_and_in_full() -> None:
    """Nothing goes out for a while, as on a road that is full, and the reader reads on."""
    pair = Pair()
    stream, other = (pair.dialler.open(0.0) for _ in range(2))
    for each in (stream, other):
        pair.dialler.send(each, 256 * KIB, pair.now)
    pair.exchange(reading=False)
    before = pair.acceptor.wire.count(frames.WINDOW)
    for _ in range(8):  # at half of the window, and again at the whole of it, there is credit to give
        pair.now += 1.0
        for each in (stream, other):
            pair.acceptor.read(each, 32 * KIB, pair.now)
    assert pair.acceptor.wire.count(frames.WINDOW) == before
    pair.take(pair.acceptor)
    assert pair.acceptor.wire.count(frames.WINDOW) == before + 2
    assert pair.acceptor.wire.granted[stream] == 256 * KIB


def test_credit_for_a_stream_that_is_cut_meanwhile_is_not_told() -> None:
    pair = Pair()
    stream = opened(pair)
    pair.dialler.send(stream, 256 * KIB, pair.now)
    while pair.take(pair.dialler):
        pair.deliver(pair.dialler)
    pair.acceptor.read(stream, 200 * KIB, pair.now)
    pair.acceptor.reset(stream)
    pair.take(pair.acceptor)  # the model fails on a frame for a stream that its sender has reset
    assert pair.acceptor.wire.frames[-1][:3] == (frames.WINDOW, frames.RST, stream)


@pytest.mark.attack(14)
def test_what_nobody_has_read_counts_also_when_both_ends_have_ended_the_stream() -> None:
    pair = Pair()
    streams = [opened(pair) for _ in range(4)]
    for stream in streams:
        pair.dialler.send(stream, 200 * KIB, pair.now)
        for end in pair.ends:
            end.end(stream, pair.now)
    pair.exchange(reading=False)
    assert [end.mux.streams for end in pair.ends] == [0, 0]
    assert pair.acceptor.mux.held == 800 * KIB
    pair.acceptor.read(streams[0], 50 * KIB, pair.now)
    pair.acceptor.reset(streams[1])
    assert pair.acceptor.mux.held == 550 * KIB
    pair.exchange()
    assert pair.acceptor.mux.held == 0
    assert pair.acceptor.came[streams[0]] == 200 * KIB + 10


@pytest.mark.attack(14)
def test_streams_that_are_over_and_unread_are_cut_when_the_budget_is_gone() -> None:
    """Opened, filled, ended, and forgotten by who should read: however many there are, the budget holds."""
    pair = Pair(acceptor=Limits(budget=MIB))
    reader = opened(pair)
    for stream in [opened(pair) for _ in range(20)]:
        pair.now += 0.1
        pair.dialler.send(stream, 200 * KIB, pair.now)
        for end in pair.ends:
            end.end(stream, pair.now)
        for _ in range(20):
            for end in pair.ends:
                pair.take(end)
                pair.deliver(end)
        assert pair.acceptor.mux.held <= MIB
    assert reader not in pair.acceptor.resets
    assert set(pair.acceptor.resets.values()) == {Reset.BUSY}
