"""This file is the promises of ids."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.kit import ids

MOMENTS = st.datetimes(min_value=datetime(2024, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants naive bounds
CLUSTER = UUID("0193a0a0-0000-7000-8000-000000000001")


@given(earlier=MOMENTS, later=st.integers(1, 10**9))
def test_ids_sort_by_the_millisecond_they_were_made_in(earlier: datetime, later: int) -> None:
    first = ids.new_id(earlier)
    second = ids.new_id(earlier + timedelta(milliseconds=later))
    assert first < second
    assert str(first) < str(second)


@given(now=MOMENTS)
def test_an_id_is_a_uuid_version_7_that_holds_its_time(now: datetime) -> None:
    made = ids.new_id(now)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == int(now.timestamp() * 1000)


def test_ids_of_one_moment_differ() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert len({ids.new_id(now) for _ in range(1000)}) == 1000


def test_a_machines_uuid_is_the_same_for_ever() -> None:
    """Machines made by earlier versions are found by it: this value may never change."""
    assert ids.machine_uuid(CLUSTER, "workers", 0) == UUID("7622f447-3d1c-5e57-89b1-7e373f4a8c68")


@given(
    one=st.tuples(st.uuids(), st.from_regex(r"[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", fullmatch=True), st.integers(0, 99)),
    two=st.tuples(st.uuids(), st.from_regex(r"[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", fullmatch=True), st.integers(0, 99)),
)
def test_machines_share_a_uuid_only_if_cluster_pool_and_number_agree(
    one: tuple[UUID, str, int], two: tuple[UUID, str, int]
) -> None:
    assert (ids.machine_uuid(*one) == ids.machine_uuid(*two)) == (one == two)


def test_each_of_cluster_pool_and_number_counts() -> None:
    other = UUID("0193a0a0-0000-7000-8000-000000000002")
    made = {
        ids.machine_uuid(cluster, pool, ordinal)
        for cluster in (CLUSTER, other)
        for pool in ("a", "b", "1")
        for ordinal in (0, 1, 11)
    }
    assert len(made) == 18
