"""This file is the promises of the console's time: the truth is never further away than the doubt says."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.appliance.consoletime import ASKED_EVERY, DRIFT, ConsoleTime
from tests.fakes.clock import HandClock
from tests.fakes.wishes import WHEN


def test_before_the_console_has_spoken_no_time_is_known() -> None:
    assert ConsoleTime(HandClock()).now() is None


@given(there=st.floats(0, 20), back=st.floats(0, 20), later=st.floats(0, 1e6), drift=st.floats(-DRIFT / 2, DRIFT / 2))
def test_the_truth_lies_within_the_doubt(there: float, back: float, later: float, drift: float) -> None:
    clock = HandClock()
    time = ConsoleTime(clock)
    clock.seconds += there + back
    time.heard(WHEN + timedelta(seconds=there), asked=0.0)
    clock.seconds += later * (1 + drift)
    truth = WHEN + timedelta(seconds=there + back + later)
    told = time.now()
    assert told is not None
    assert abs(told - truth) <= time.doubt() + timedelta(milliseconds=1)


def test_a_clock_that_is_set_moves_nothing() -> None:
    clock = HandClock()
    time = ConsoleTime(clock)
    time.heard(WHEN + timedelta(days=400), asked=0.0)
    assert time.now() == WHEN + timedelta(days=400)


def test_a_new_welcome_puts_it_right() -> None:
    clock = HandClock()
    time = ConsoleTime(clock)
    time.heard(WHEN, asked=0.0)
    clock.seconds += 1e6
    assert time.doubt() > timedelta(seconds=99)
    time.heard(WHEN, asked=clock.seconds)
    assert (time.now(), time.doubt()) == (WHEN, timedelta(0))


def a_told_time(*, ago: float) -> ConsoleTime:
    clock = HandClock()
    time = ConsoleTime(clock)
    time.heard(WHEN, asked=0.0)
    clock.seconds += ago
    return time


def test_two_grants_in_a_row_that_do_not_fit_make_it_stale_until_it_is_told_again() -> None:
    time = a_told_time(ago=ASKED_EVERY)
    time.misfits()
    assert not time.stale.is_set()
    time.misfits()
    assert time.stale.is_set()
    time.heard(WHEN, asked=ASKED_EVERY)
    assert not time.stale.is_set()


def test_a_grant_that_fits_takes_back_one_that_did_not() -> None:
    time = a_told_time(ago=ASKED_EVERY)
    time.misfits()
    time.fits()
    time.misfits()
    assert not time.stale.is_set()


def test_a_time_told_just_now_is_not_asked_for_again() -> None:
    time = a_told_time(ago=ASKED_EVERY - 1)
    for _ in range(5):
        time.misfits()
    assert not time.stale.is_set()
