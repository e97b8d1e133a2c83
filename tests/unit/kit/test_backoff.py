"""This file is the promises of waiting before trying again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kit.backoff import LONGEST, Backoff
from gateway.kit.errors import GatewayError, Remedy

DRAWS = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


def slowest(**settings: float) -> Backoff:
    return Backoff(lambda: 1.0, **settings)


def test_the_limit_doubles_with_each_failure_up_to_the_cap() -> None:
    backoff = slowest(first=1.0, cap=10.0)
    assert [backoff.next_delay() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_jitter_is_drawn_from_nothing_up_to_the_limit() -> None:
    draws = iter([0.0, 0.5, 0.25])
    backoff = Backoff(lambda: next(draws), first=4.0, cap=100.0)
    assert [backoff.next_delay() for _ in range(3)] == [0.0, 4.0, 4.0]


@given(draw=DRAWS, failures=st.integers(0, 5000), first=st.floats(0.01, 10), cap=st.floats(0.01, 600))
def test_no_wait_is_ever_negative_or_over_the_cap(draw: float, failures: int, first: float, cap: float) -> None:
    backoff = Backoff(lambda: draw, first=first, cap=cap, failures=failures)
    assert 0.0 <= backoff.next_delay() <= cap


def test_a_success_that_did_not_last_forgets_nothing() -> None:
    backoff = slowest(first=1.0, cap=60.0, stable=30.0)
    for _ in range(3):
        backoff.next_delay()
    assert not backoff.succeeded_for(29.9)
    assert backoff.next_delay() == 8.0


def test_a_success_that_lasted_begins_anew() -> None:
    backoff = slowest(first=1.0, cap=60.0, stable=30.0)
    for _ in range(3):
        backoff.next_delay()
    assert backoff.succeeded_for(30.0)
    assert backoff.next_delay() == 1.0


class RefusedError(GatewayError):
    """Somebody has to do something."""

    code = "test.refused"
    remedy = Remedy.OPERATOR


class BusyError(GatewayError):
    """Time will mend it."""

    code = "test.busy"
    remedy = Remedy.RETRY


def test_what_an_operator_has_to_mend_is_tried_ever_more_rarely() -> None:
    backoff = slowest(first=1.0, cap=60.0, slow=300.0)
    assert [backoff.next_delay(RefusedError()) for _ in range(10)][-3:] == [128.0, 256.0, 300.0]


@pytest.mark.parametrize("fault", [None, BusyError(), OSError()])
def test_what_time_mends_is_tried_as_ever(fault: Exception | None) -> None:
    backoff = slowest(first=1.0, cap=60.0, slow=300.0, failures=20)
    assert backoff.next_delay(fault) == 60.0


@given(draw=DRAWS, failures=st.integers(0, 100), wished=st.floats(0.001, 10_000_000))
def test_a_pause_that_was_asked_for_is_kept_to_and_spread(draw: float, failures: int, wished: float) -> None:
    backoff = Backoff(lambda: draw, first=1.0, cap=60.0, failures=failures)
    pause = backoff.next_delay(BusyError(retry_after=wished))
    kept = min(wished, LONGEST)
    assert kept <= pause <= kept + max(kept / 2, 60.0)
    assert backoff.failures == failures + 1


def test_two_that_were_sent_away_with_the_same_pause_do_not_come_back_at_once() -> None:
    draws = iter([0.1, 0.9])
    backoff = Backoff(lambda: next(draws), first=1.0, cap=60.0)
    first, second = (backoff.next_delay(BusyError(retry_after=30.0)) for _ in range(2))
    assert second - first >= 10.0


@pytest.mark.parametrize("wished", [0, -5, None, "30"])
def test_a_pause_that_is_none_is_left_aside(wished: float | str | None) -> None:
    assert slowest(first=1.0, cap=60.0).next_delay(BusyError(retry_after=wished)) == 1.0
