"""This file is the promises of credit: nobody sends more than was given, and no more is given than may be held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tunnel import windows
from gateway.tunnel.frames import ProtocolBrokenError
from gateway.tunnel.limits import FIRST_WINDOW, KIB, MIB
from gateway.tunnel.windows import Budget, ReceiveWindow


def window(*, largest: int = 4 * MIB, budget: int = 64 * MIB) -> ReceiveWindow:
    return ReceiveWindow(Budget(budget), largest=largest, now=0.0)


@given(st.lists(st.tuples(st.integers(0, 300 * KIB), st.integers(0, 300 * KIB), st.floats(0, 0.2)), max_size=80))
def test_what_may_still_come_and_what_is_held_never_exceed_the_window(steps: list[tuple[int, int, float]]) -> None:
    budget = Budget(8 * MIB)
    one = ReceiveWindow(budget, largest=MIB, now=0.0)
    credit, held, now = FIRST_WINDOW, 0, 0.0
    for offered, wanted, seconds in steps:
        now += seconds
        comes = min(offered, credit)
        one.received(comes)
        credit, held = credit - comes, held + comes
        reads = min(wanted, held)
        given_now = one.read(reads, now=now, round_trip=0.05)
        credit, held = credit + given_now, held - reads
        assert credit + held <= one.size <= MIB
        assert credit + held > one.size // 2 or one.size == FIRST_WINDOW // 2, "half of it is given back at the latest"
        assert (one.held, budget.held) == (held, held)
    one.dropped()
    assert budget.held == 0


@pytest.mark.attack(15)
def test_one_byte_beyond_the_credit_is_refused() -> None:
    one = window()
    one.received(FIRST_WINDOW)
    with pytest.raises(ProtocolBrokenError):
        one.received(1)


def test_less_than_half_of_the_window_is_not_given_back_in_crumbs() -> None:
    one = window()
    one.received(FIRST_WINDOW)
    assert one.read(FIRST_WINDOW // 2 - 1, now=9.0, round_trip=0.05) == 0
    assert one.read(1, now=9.0, round_trip=0.05) == FIRST_WINDOW // 2


@pytest.mark.parametrize(("after", "grows"), [(0.09, True), (0.11, False)])
def test_a_window_grows_when_half_of_it_is_read_within_two_round_trips(after: float, grows: bool) -> None:
    one = window()
    one.received(FIRST_WINDOW)
    credit = one.read(FIRST_WINDOW // 2, now=after, round_trip=0.05)
    assert credit == FIRST_WINDOW // 2 + (FIRST_WINDOW if grows else 0)


def test_a_window_grows_to_its_largest_and_no_further() -> None:
    one, now = window(largest=3 * MIB), 0.0
    for _ in range(20):
        size = one.size // 2
        one.received(size)
        one.read(size, now=now, round_trip=0.05)
    assert one.size == 3 * MIB


@pytest.mark.attack(14)
@pytest.mark.parametrize(("free", "size"), [(64, 4), (16, 4), (15, 2), (4, 1), (3, 0.5), (1.5, 0.25)])
def test_a_window_grows_to_a_quarter_of_what_is_free_so_that_stalled_streams_do_not_hold_the_others_back(
    free: float, size: float
) -> None:
    budget, now = Budget(64 * MIB), 0.0
    budget.held = int((64 - free) * MIB)
    quick = ReceiveWindow(budget, largest=4 * MIB, now=0.0)
    for _ in range(40):
        piece = quick.size // 2
        quick.received(piece)
        quick.read(piece, now=now, round_trip=0.05)
    assert quick.size == int(size * MIB)


@pytest.mark.attack(15)
def test_credit_beyond_what_the_wire_can_count_is_refused_at_once_and_in_steps() -> None:
    assert windows.added(0, 2**32 - 1) == 2**32 - 1
    with pytest.raises(ProtocolBrokenError):
        windows.added(FIRST_WINDOW, 2**32 - 1)
    credit = FIRST_WINDOW
    for _ in range(3):
        credit = windows.added(credit, 2**30)
    with pytest.raises(ProtocolBrokenError):
        windows.added(credit, 2**30)
