"""This file is what the rate limit and the bells promise."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.bells import Bells, rung
from gateway.console.limits import Buckets, TooOftenError


def test_who_waits_as_long_as_told_may_ask_again() -> None:
    buckets = Buckets(burst=2, per_minute=6)
    buckets.take("a", now=0)
    buckets.take("a", now=0)

    with pytest.raises(TooOftenError) as refused:
        buckets.take("a", now=0)
    wait = refused.value.facts["retry_after"]

    buckets.take("a", now=float(wait or 0))


def test_one_who_asks_too_often_does_not_keep_others_out() -> None:
    buckets = Buckets(burst=1, per_minute=1)
    buckets.take("a", now=0)

    buckets.take("b", now=0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=200))
def test_nobody_gets_more_than_burst_and_rate_allow(asked: list[tuple[str, float]]) -> None:
    buckets, now, granted = Buckets(burst=3, per_minute=10), 0.0, dict.fromkeys("abc", 0)
    for key, pause in asked:
        now += pause
        try:
            buckets.take(key, now=now)
        except TooOftenError:
            continue
        granted[key] += 1

    assert all(count <= 3 + now * 10 / 60 + 1e-6 for count in granted.values())


def test_memory_is_bounded_however_many_ask() -> None:
    buckets = Buckets(burst=1, per_minute=1, capacity=10)
    for number in range(1000):
        buckets.take(str(number), now=0)

    assert len(buckets._filled) == 10


async def test_a_ring_before_the_wait_is_not_lost() -> None:
    bells, what = Bells(), uuid4()

    with bells.listening(what) as listener:
        bells.ring(what)
        assert await rung(listener, within=5)
        assert not listener.is_set()


async def test_a_bell_nobody_listens_to_is_forgotten() -> None:
    bells, what = Bells(), uuid4()

    with bells.listening(what):
        pass
    bells.ring(what)

    assert bells._listeners == {}
