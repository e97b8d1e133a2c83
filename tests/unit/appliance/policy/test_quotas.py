"""This file is the promises of the count: what there may be is never more than it says, whatever ends how."""

from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.appliance.policy import quotas
from gateway.appliance.policy.quotas import Amount, Booked, Pool, Settled, Usage, after, fold
from gateway.contract.commands import Command
from gateway.contract.events import CommandOutcome
from tests.fakes.wishes import WHEN, a_delete, a_read, an_apply
from tests.unit.appliance.policy.policies import CLUSTERS, a_wish, commands

SUCCEEDED, REFUSED, FAILED = CommandOutcome.SUCCEEDED, CommandOutcome.REFUSED, CommandOutcome.FAILED


def booked(command: Command) -> Booked:
    found = quotas.booked(command, at=WHEN)
    assert found is not None
    return found


def ended(command: Command, outcome: CommandOutcome) -> list[quotas.Entry]:
    return [booked(command), Settled(command.id, outcome)]


def wish(workers: int) -> Command:
    return an_apply(CLUSTERS[0], a_wish(workers=workers, cpus=2, memory_mib=1024))


def test_a_wish_counts_from_when_it_is_accepted() -> None:
    assert fold([booked(wish(2))]).now == Amount(3, 6, 3072)


def test_what_only_reads_counts_nothing() -> None:
    assert quotas.booked(a_read(), at=WHEN) is None


@pytest.mark.parametrize(
    ("outcome", "machines"), [(SUCCEEDED, 2), (FAILED, 6), (CommandOutcome.UNKNOWN, 6), (REFUSED, 6)]
)
def test_a_cluster_that_shrinks_counts_whole_until_that_has_succeeded(outcome: CommandOutcome, machines: int) -> None:
    small = wish(1)
    usage = fold([*ended(wish(5), SUCCEEDED), booked(small)])
    assert usage.now.machines == 6
    assert after(usage, Settled(small.id, outcome)).now.machines == machines


@pytest.mark.parametrize(("outcome", "machines"), [(SUCCEEDED, 0), (FAILED, 6), (REFUSED, 6)])
def test_a_cluster_counts_until_its_deletion_has_succeeded(outcome: CommandOutcome, machines: int) -> None:
    assert fold([*ended(wish(5), SUCCEEDED), *ended(a_delete(CLUSTERS[0]), outcome)]).now.machines == machines


def test_what_was_refused_on_the_way_counts_no_more_and_what_failed_does() -> None:
    assert fold(ended(wish(5), REFUSED)) == Usage()
    failed = fold(ended(wish(5), FAILED))
    assert (failed.now.machines, failed.ever.machines) == (6, 6)


def test_the_same_wish_again_makes_nothing_more() -> None:
    assert fold([*ended(wish(5), FAILED), *ended(wish(5), SUCCEEDED)]).ever.machines == 6


def test_machines_that_are_made_anew_count_anew() -> None:
    usage = fold([*ended(wish(5), SUCCEEDED), *ended(wish(0), SUCCEEDED), *ended(wish(5), SUCCEEDED)])
    assert (usage.now.machines, usage.ever.machines) == (6, 11)


def test_machines_in_two_datacenters_count_twice_and_one_datacenter_by_two_names_once() -> None:
    here, there = (an_apply(CLUSTERS[0], a_wish(datacenter=name)) for name in ("a", "b"))
    assert fold([*ended(here, SUCCEEDED), *ended(there, SUCCEEDED)]).now.machines == 6
    unnamed = an_apply(CLUSTERS[0], a_wish())
    assert fold([*ended(here, SUCCEEDED), *ended(unnamed, SUCCEEDED)]).now.machines == 3


def test_what_is_made_is_forgotten_after_a_day_but_for_the_total() -> None:
    usage = fold(ended(wish(5), SUCCEEDED))
    later = after(usage, Booked(uuid4(), WHEN + quotas.DAY + timedelta(seconds=1), booked(wish(5)).place, {}))
    assert later.lately == ()
    assert later.ever.machines == 6


entries = st.lists(
    st.tuples(commands, st.none() | st.sampled_from(CommandOutcome), st.booleans()), min_size=1, max_size=8
)


@given(entries)
def test_what_comes_twice_counts_once(drawn: list[tuple[Command, CommandOutcome | None, bool]]) -> None:
    once: list[quotas.Entry] = []
    twice: list[quotas.Entry] = []
    for command, outcome, doubled in drawn:
        booking = quotas.booked(command, at=WHEN)
        if booking is None:
            continue
        said = [booking, *([] if outcome is None else [Settled(command.id, outcome)])]
        once += said
        twice += [entry for entry in said for _ in range(2 if doubled else 1)]
    assert fold(once) == fold(twice)


@given(entries)
def test_what_there_may_be_is_never_less_than_what_there_can_be(
    drawn: list[tuple[Command, CommandOutcome | None, bool]],
) -> None:
    usage, there = Usage(), dict[tuple[object, str], dict[str, Pool]]()
    for command, outcome, is_done in drawn:
        booking = quotas.booked(command, at=WHEN)
        if booking is None:
            continue
        usage = after(usage, booking)
        place = (booking.place.cluster, f"{booking.place.account}/{booking.place.datacenter}")
        # A world in which a command that did not end well was carried out whole, or not at all.
        if outcome is SUCCEEDED or (is_done and outcome not in {REFUSED, None}):
            there[place] = dict(booking.pools or {})
        if outcome is not None:
            usage = after(usage, Settled(command.id, outcome))
    named = {place: pools for place, pools in there.items() if not str(place[1]).endswith("/")}
    for (cluster, where), pools in named.items():
        if any(other[0] == cluster and other != (cluster, where) for other in there):
            continue  # a datacenter that is the only one, named or not, is one place
        account, datacenter = where.split("/")
        counted = usage.at(quotas.Place(cluster, account, datacenter))  # type: ignore[arg-type]
        assert all(counted.get(name, Pool(0, 0, 0)).machines >= pool.machines for name, pool in pools.items())
