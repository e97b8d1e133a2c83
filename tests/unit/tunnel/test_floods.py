"""This file is that a flood ends a session, soon and for little, and that honest work is never taken for one."""

import tracemalloc
from collections.abc import Iterator
from itertools import count, islice, repeat

import pytest

from gateway.tunnel import frames
from gateway.tunnel.frames import DATA, FIN, PING, RST, SYN, WINDOW, ProtocolBrokenError
from gateway.tunnel.limits import KIB, MIB
from gateway.tunnel.mux import Mux
from gateway.tunnel.schedule import Lane
from tests.unit.tunnel.model import Pair
from tests.unit.tunnel.slowroad import SlowRoad

pytestmark = pytest.mark.attack(17)


def pings() -> Iterator[bytes]:
    return (frames.pack(PING, SYN, 0, value) for value in count())


def window_updates() -> Iterator[bytes]:
    yield frames.pack(WINDOW, SYN, 1, 0)
    yield from repeat(frames.pack(WINDOW, 0, 1, 1))


def empty_data() -> Iterator[bytes]:
    yield frames.pack(WINDOW, SYN, 1, 0)
    yield from repeat(frames.pack(DATA, 0, 1, 0))


def rapid_resets() -> Iterator[bytes]:
    for stream in count(1, 2):
        yield frames.pack(WINDOW, SYN, stream, 0)
        yield frames.pack(WINDOW, RST, stream, 6)


def opened_and_ended() -> Iterator[bytes]:
    return (frames.pack(DATA, SYN | FIN, stream, 0) for stream in count(1, 2))


def frames_for_nobody() -> Iterator[bytes]:
    return (frames.pack(WINDOW, 0, stream, 1) for stream in count(1, 2))


def answers_to_nothing() -> Iterator[bytes]:
    return (frames.pack(PING, frames.ACK, 0, value) for value in count(1000))


def going_away() -> Iterator[bytes]:
    return repeat(frames.pack(frames.GO_AWAY, 0, 0, 0))


FLOODS = [
    pings, window_updates, empty_data, rapid_resets, opened_and_ended, frames_for_nobody, answers_to_nothing, going_away
]  # fmt: skip


def drown(mux: Mux, flood: Iterator[bytes], rate: int) -> None:
    for number, frame in enumerate(flood):
        mux.receive(frame, number / rate)
        mux.take(MIB, number / rate)


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("rate", [2_000, 1_000_000])
def test_a_flood_ends_the_session_within_seconds_and_costs_no_memory(flood: object, rate: int) -> None:
    """The peer takes its answers, so nothing but the number of frames tells."""
    assert callable(flood)
    mux = Mux(dialler=False, now=0.0)
    tracemalloc.start()
    with pytest.raises(ProtocolBrokenError, match="flood"):
        drown(mux, islice(flood(), 10 * rate), rate)
    assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    tracemalloc.stop()


def test_pings_whose_answers_nobody_takes_end_the_session() -> None:
    mux = Mux(dialler=False, now=0.0)
    for ping in islice(pings(), 32):
        mux.receive(ping, 0.0)
    with pytest.raises(ProtocolBrokenError, match="flood"):
        mux.receive(next(pings()), 0.0)


@pytest.mark.parametrize("rate", [125_000, 1_250_000, 12_500_000])
def test_a_shell_that_talks_much_beside_bulk_on_a_slow_road_is_no_flood(rate: int) -> None:
    pair = Pair()
    road = SlowRoad(pair, rate=rate, delay=0.02)
    for end in pair.ends:
        end.mux.ping(0.0)  # as a session does when it begins
    bulk, shell = pair.dialler.open(0.0, Lane.BULK), pair.dialler.open(0.0, Lane.INTERACTIVE)
    for _ in range(10_000):  # ten seconds, and in each of them a thousand words of the shell
        if bulk not in pair.dialler.full:
            pair.dialler.send(bulk, 128 * KIB, pair.now)
        if shell not in pair.dialler.full:
            pair.dialler.send(shell, 40, pair.now)
        road.turn(0.001)
    assert pair.acceptor.came[shell] > 100_000
    assert pair.acceptor.came[bulk] + pair.acceptor.came[shell] > rate * 6


@pytest.mark.parametrize("streams", [1, 100])
def test_half_a_gigabyte_a_second_is_no_flood(streams: int) -> None:
    """Everything travels at once, so that time brings no tokens: data alone has to pay for what goes with it."""
    pair = Pair()
    opened = [pair.dialler.open(0.0) for _ in range(streams)]
    for _ in range(512 * MIB // (4 * MIB)):
        for stream in opened:
            pair.dialler.send(stream, 4 * MIB // streams, pair.now)
        pair.exchange()
    assert sum(pair.acceptor.came.values()) == 512 * MIB // (4 * MIB) * (4 * MIB // streams) * streams
    assert pair.now == 0.0


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_thousands_of_small_streams_a_second_are_no_flood(size: int) -> None:
    """Opened, answered and ended: 4000 a second for some seconds, each with one question and one answer."""
    pair = Pair()
    for _ in range(100):
        pair.now += 0.025
        opened = [pair.dialler.open(pair.now) for _ in range(100)]
        for stream in opened:
            pair.dialler.send(stream, 50 + size, pair.now)
        pair.exchange()
        for stream in opened:
            pair.acceptor.mux.answered(stream)
            pair.acceptor.send(stream, 50 + size, pair.now)
        pair.exchange()
        for end in pair.ends:
            for stream in opened:
                end.end(stream, pair.now)
        pair.exchange()
    assert [end.mux.streams for end in pair.ends] == [0, 0]
    assert len(pair.acceptor.theirs) == 10_000


def test_streams_that_are_cancelled_before_their_answer_are_no_flood_at_an_honest_rate() -> None:
    pair = Pair()
    for _ in range(3000):
        pair.now += 0.01
        stream = pair.dialler.open(pair.now)
        pair.dialler.send(stream, 60, pair.now)
        pair.exchange()
        pair.dialler.reset(stream)
        pair.exchange()
    assert [end.mux.streams for end in pair.ends] == [0, 0]
