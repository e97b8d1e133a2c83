"""This file is the promises of the bucket that tells a flood from work."""

from gateway.tunnel.buckets import Bucket


def taken(bucket: Bucket, now: float) -> int:
    """Return how many tokens can be had at once."""
    count = 0
    while bucket.take(now):
        count += 1
    return count


def test_it_is_full_at_first_and_then_empty() -> None:
    assert taken(Bucket(rate=10, depth=30, now=5.0), 5.0) == 30


def test_time_fills_it_at_its_rate_and_never_beyond_its_depth() -> None:
    bucket = Bucket(rate=10, depth=30, now=0.0)
    assert [taken(bucket, 0.0), taken(bucket, 0.5), taken(bucket, 2.5), taken(bucket, 1000.0)] == [30, 5, 20, 30]


def test_work_pays_into_it_and_never_beyond_its_depth() -> None:
    bucket = Bucket(rate=0, depth=3, now=0.0)
    bucket.pay(100)
    assert taken(bucket, 0.0) == 3
    for _ in range(5):
        bucket.pay(0.5)
    assert taken(bucket, 0.0) == 2


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(rate=10, depth=1, now=100.0)
    assert taken(bucket, 100.0) == 1
    assert taken(bucket, 0.0) == 0
    assert taken(bucket, 100.05) == 0
