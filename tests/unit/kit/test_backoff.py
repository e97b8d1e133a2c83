"""This file is the promises of waiting before trying again."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.kit.backoff import Backoff

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
