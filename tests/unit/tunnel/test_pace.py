"""This file is the promises of the in-flight cap: it finds what a road holds, and it never locks a road up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tunnel.limits import INTERACTIVE_FRAME, KIB, MIB
from gateway.tunnel.pace import FIRST_CAP, LARGEST_CAP, SLACK, SMALLEST_CAP, Pace


def test_the_first_cap_holds_until_an_echo_has_come() -> None:
    pace = Pace(0.0)
    pace.sent += FIRST_CAP - 1
    assert pace.room == 1
    pace.sent += 1
    assert pace.room == 0
    pace.marker(0.0)
    assert pace.room == 0


def test_an_echo_says_that_all_before_it_has_arrived_and_nothing_after() -> None:
    pace = Pace(0.0)
    pace.sent += 1000
    first = pace.marker(0.0)
    pace.sent += 500
    assert pace.echoed(first, 0.1)
    assert (pace.arrived, pace.sent - pace.arrived) == (1000, 500)


def test_an_echo_answers_for_the_markers_before_it_too() -> None:
    pace = Pace(0.0)
    values = []
    for _ in range(3):
        pace.sent += 1000
        values.append(pace.marker(0.0))
    assert pace.echoed(values[2], 0.1)
    assert pace.arrived == 3000
    assert not pace.echoed(values[0], 0.2)


@pytest.mark.parametrize("value", [0, 2, 0xFFFFFFFF])
def test_an_echo_of_nothing_changes_nothing(value: int) -> None:
    pace = Pace(0.0)
    pace.sent += 1000
    pace.marker(0.0)
    assert not pace.echoed(value, 0.1)
    assert (pace.arrived, pace.cap, pace.round_trip) == (0, FIRST_CAP, 0.0)


def steady(rate: float, round_trip: float, *, seconds: float = 8.0) -> Pace:
    """Send as much as a pace lets over a road of that rate and round trip."""
    pace, now, free_at = Pace(0.0), 0.0, 0.0
    echoes: list[tuple[float, int]] = []
    while now < seconds:
        while pace.room > 0:
            pace.sent += 16 * KIB
            free_at = max(free_at, now) + 16 * KIB / rate
            if pace.marker_due:
                echoes.append((free_at + round_trip, pace.marker(now)))
        if pace.marker_due:
            echoes.append((free_at + round_trip, pace.marker(now)))
        at, value = echoes.pop(0)
        now = max(now, at)
        assert pace.echoed(value, now)
    return pace


@pytest.mark.parametrize(
    ("rate", "round_trip"),
    [(125e6, 0.0002), (12.5e6, 0.002), (12.5e6, 0.05), (1.25e6, 0.05), (1.25e6, 0.3), (40e6, 0.08)],
)
def test_the_cap_holds_what_the_road_does_and_little_more(rate: float, round_trip: float) -> None:
    needed = rate * round_trip
    cap = steady(rate, round_trip).cap
    assert cap >= min(LARGEST_CAP, 0.95 * needed)
    assert cap <= max(SMALLEST_CAP, 3 * rate * (round_trip + SLACK), FIRST_CAP / 4)


def test_the_cap_stays_within_its_limits() -> None:
    assert steady(10e3, 0.001, seconds=200).cap < SMALLEST_CAP * 1.1
    assert steady(1e9, 0.1).cap == LARGEST_CAP


@given(st.lists(st.tuples(st.integers(1, MIB), st.integers(0, 6), st.floats(0.00001, 30.0)), max_size=60))
def test_who_waits_for_room_waits_for_an_echo_that_is_under_way(steps: list[tuple[int, int, float]]) -> None:
    """Else nothing would ever go on: room comes from echoes only."""
    pace, now = Pace(0.0), 0.0
    under_way: list[int] = []
    for size, echoes, seconds in steps:
        now += seconds
        if pace.room > 0:
            pace.sent += size
        for value in under_way[:echoes]:
            assert pace.echoed(value, now)
        del under_way[:echoes]
        if pace.marker_due:
            under_way.append(pace.marker(now))
        assert INTERACTIVE_FRAME <= pace.cap <= LARGEST_CAP
        assert pace.room > 0 or under_way


def test_small_things_beyond_the_cap_cost_no_marker_each() -> None:
    pace = Pace(0.0)
    pace.sent += FIRST_CAP
    markers = 0
    for _ in range(1000):
        pace.sent += 40
        if pace.marker_due:
            pace.marker(0.0)
            markers += 1
    assert markers <= 2


def test_under_load_the_round_trip_is_asked_for_again() -> None:
    """A road that has become longer is found out, though its queue hides it."""
    pace, now = Pace(0.0), 0.0
    caps = set()
    for turn in range(3000):
        round_trip = 0.002 if turn < 100 else 0.05
        pace.sent += max(0, pace.room)
        value = pace.marker(now)
        now += round_trip + (pace.sent - pace.arrived) / 12.5e6
        pace.echoed(value, now)
        caps.add(pace.cap)
    assert pace.round_trip >= 0.05
    assert min(caps) < SMALLEST_CAP
