"""This file is that two mux ends do what the model says, whatever programs, road and clock do."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.tunnel.frames import Reset
from gateway.tunnel.limits import KIB, QUEUED_PONGS, Limits
from gateway.tunnel.mux import NoMoreStreamsError
from gateway.tunnel.schedule import Lane
from tests.unit.tunnel.model import End, Pair

ENDS = st.sampled_from(["dialler", "acceptor"])
WHICH = st.integers(min_value=0, max_value=30)
SIZES = st.one_of(st.integers(0, 300), st.sampled_from([16 * KIB, 64 * KIB - 12, 64 * KIB, 128 * KIB, 300 * KIB]))
ROOMS = st.sampled_from([1, 12, 1000, 64 * KIB, 256 * KIB])


class TwoEnds(RuleBasedStateMachine):
    """Rules are what programs, the road and the clock may do; the model's own assertions hold at each of them."""

    @initialize()
    def begin(self) -> None:
        self.pair = Pair()
        self.going = False

    def end_of(self, name: str) -> End:
        return self.pair.dialler if name == "dialler" else self.pair.acceptor

    def pick(self, end: End, which: int) -> int | None:
        return end.live[which % len(end.live)] if end.live else None

    @rule(name=ENDS, lane=st.sampled_from(Lane))
    def open(self, name: str, lane: Lane) -> None:
        end = self.end_of(name)
        try:
            end.open(self.pair.now, lane)
        except NoMoreStreamsError:
            assert self.going

    @rule(name=ENDS, lane=st.sampled_from(Lane), size=SIZES)
    def open_and_send(self, name: str, lane: Lane, size: int) -> None:
        if not self.going:
            end = self.end_of(name)
            end.send(end.open(self.pair.now, lane), size, self.pair.now)

    @rule(name=ENDS, which=WHICH, size=SIZES)
    def send(self, name: str, which: int, size: int) -> None:
        end = self.end_of(name)
        if (stream := self.pick(end, which)) is not None:
            end.send(stream, size, self.pair.now)

    @rule(name=ENDS, which=WHICH)
    def half_close(self, name: str, which: int) -> None:
        end = self.end_of(name)
        if (stream := self.pick(end, which)) is not None:
            end.end(stream, self.pair.now)

    @rule(name=ENDS, which=WHICH, reason=st.sampled_from(Reset))
    def reset(self, name: str, which: int, reason: Reset) -> None:
        end = self.end_of(name)
        if (stream := self.pick(end, which)) is not None:
            end.reset(stream, reason)

    @rule(name=ENDS, which=WHICH, size=SIZES)
    def read(self, name: str, which: int, size: int) -> None:
        end = self.end_of(name)
        if (stream := self.pick(end, which)) is not None:
            end.read(stream, size, self.pair.now)

    @rule(name=ENDS, which=WHICH, lane=st.sampled_from(Lane))
    def answer(self, name: str, which: int, lane: Lane) -> None:
        end = self.end_of(name)
        if (stream := self.pick(end, which)) is not None:
            end.mux.answered(stream)
            end.mux.set_lane(stream, lane)

    @rule(name=ENDS, room=ROOMS)
    def take(self, name: str, room: int) -> None:
        self.pair.take(self.end_of(name), room)

    @rule(name=ENDS, size=st.one_of(st.integers(1, 40), st.integers(1, 400 * KIB)))
    def deliver(self, name: str, size: int) -> None:
        self.pair.deliver(self.end_of(name), size)

    @rule(seconds=st.sampled_from([0.0001, 0.003, 0.06, 1.0, 11.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.pair.now += seconds

    @rule(name=ENDS)
    def keep_alive(self, name: str) -> None:
        end = self.end_of(name)
        if len(end.mux.pace._markers) < QUEUED_PONGS // 2:  # a session asks seldom, and gives up who never answers
            end.mux.ping(self.pair.now)

    @rule(name=ENDS)
    @precondition(lambda self: not self.going)
    def go_away(self, name: str) -> None:
        """The one says so, the other opens nothing any more when it has heard it."""
        self.going = True
        self.end_of(name).mux.go_away()

    @rule()
    def come_to_rest(self) -> None:
        self.settle()

    @invariant()
    def what_is_held_is_what_nobody_has_read(self) -> None:
        for end in self.pair.ends if hasattr(self, "pair") else ():
            unread = sum(end.unread[stream] for stream in end.live)
            assert end.mux.held == unread

    def settle(self) -> None:
        """After everything is delivered and read, everything that was handed over has come, and nothing is stuck."""
        self.pair.exchange(step=0.001)
        for end in self.pair.ends:
            other = self.pair.other(end)
            for stream in end.live:
                if stream in other.resets:  # then it was over here before that was heard
                    assert stream in end.ends & end.peer_ends
                    continue
                assert end.mux.queued(stream) == 0
                assert not end.full
                assert other.came[stream] == end.handed[stream]
                if stream in end.ends and end.handed[stream] + (stream in other.live):
                    assert stream in other.peer_ends
            assert end.mux.pace.room > 0

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        self.settle()
        for _ in range(2):  # one that was opened without a word is heard of with its end only
            for end in self.pair.ends:
                for stream in end.live:
                    end.end(stream, self.pair.now)
            self.pair.exchange(step=0.001)
        for end in self.pair.ends:
            assert (end.mux.streams, end.mux.held) == (0, 0)
        if not self.going:
            self._flows_again()

    def _flows_again(self) -> None:
        for end in self.pair.ends:
            stream = end.open(self.pair.now)
            end.send(stream, 300 * KIB, self.pair.now)
            self.pair.exchange(step=0.001)
            assert self.pair.other(end).came[stream] == 300 * KIB


class NarrowEnds(TwoEnds):
    """The same with windows that do not grow and a road that says little."""

    @initialize()
    def begin(self) -> None:
        narrow = Limits(window=256 * KIB, frame=64 * KIB)
        self.pair = Pair(narrow, narrow)
        self.going = False


RUNS = settings(
    max_examples=300,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = RUNS
TestNarrowEnds = NarrowEnds.TestCase
TestNarrowEnds.settings = settings(RUNS, max_examples=100)
