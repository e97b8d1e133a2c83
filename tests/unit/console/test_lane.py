"""This file is the promises of the lane: a few at a time, in order, and never past what was put off."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.console.lane import ANSWER_LIMIT, DEFERRED_FOR, IN_FLIGHT, MOST_UNFINISHED, Lane, Waiting
from gateway.contract.commands import CONTROL


def waiting(count: int, resource: str = "cluster/a", *, first: int = 0) -> list[Waiting]:
    return [Waiting(UUID(int=first + number), resource) for number in range(count)]


def test_commands_go_in_order_and_a_few_at_a_time() -> None:
    lane, pending = Lane(), waiting(20)
    assert lane.next(pending, unfinished=0, now=0.0) == [one.id for one in pending[:IN_FLIGHT]]
    assert lane.next(pending, unfinished=0, now=0.0) == []
    lane.answered(pending[3].id)
    del pending[3]
    assert lane.next(pending, unfinished=1, now=0.0) == [pending[IN_FLIGHT - 1].id]


def test_a_gateway_is_given_no_more_than_it_may_have_unfinished() -> None:
    assert Lane().next(waiting(20), unfinished=MOST_UNFINISHED - 3, now=0.0) == [UUID(int=n) for n in range(3)]
    assert Lane().next(waiting(20), unfinished=MOST_UNFINISHED + 1, now=0.0) == []


def test_commands_about_commands_go_first_and_however_many_are_unfinished() -> None:
    cancel = waiting(1, CONTROL, first=100)
    pending = [*waiting(2), *cancel]
    assert Lane().next(pending, unfinished=0, now=0.0)[0] == cancel[0].id
    assert Lane().next(pending, unfinished=MOST_UNFINISHED, now=0.0) == [cancel[0].id]


def test_what_was_deferred_comes_again_later_and_nothing_of_its_resource_before() -> None:
    lane, here, there = Lane(), waiting(2), waiting(1, "cluster/b", first=50)
    lane.next(here[:1], unfinished=0, now=0.0)
    lane.deferred(here[0].id, now=1.0)
    assert lane.next([*here, *there], unfinished=0, now=2.0) == [there[0].id]
    assert lane.next(here, unfinished=0, now=1.0 + DEFERRED_FOR) == [one.id for one in here]


def test_silence_is_noticed_by_the_oldest_that_waits_for_its_answer() -> None:
    lane, pending = Lane(), waiting(2)
    lane.next(pending[:1], unfinished=0, now=0.0)
    lane.next(pending, unfinished=0, now=50.0)
    assert not lane.is_silent(ANSWER_LIMIT)
    assert lane.is_silent(ANSWER_LIMIT + 1)
    lane.answered(pending[0].id)
    assert not lane.is_silent(ANSWER_LIMIT + 1)


@given(
    resources=st.lists(st.sampled_from(["cluster/a", "cluster/b", CONTROL]), max_size=60),
    deferred=st.sets(st.integers(0, 59)),
)
def test_on_one_resource_nothing_overtakes(resources: list[str], deferred: set[int]) -> None:
    """The first time a command comes it may be deferred; all that is taken is in order, resource by resource."""
    lane, taken, now = Lane(), [], 0.0
    pending = [Waiting(UUID(int=number), resource) for number, resource in enumerate(resources)]
    refused: dict[str, int] = {}
    while pending:
        for one in lane.next(pending, unfinished=0, now=now):
            resource = resources[one.int]
            if one.int in deferred or refused.get(resource, one.int) < one.int:  # as an inbox does
                refused.setdefault(resource, one.int)
                deferred.discard(one.int)
                lane.deferred(one, now=now)
            else:
                refused.pop(resource, None)
                taken.append(one.int)
                lane.answered(one)
                pending = [left for left in pending if left.id != one]
        now += 1.0
    for resource in set(resources):
        mine = [number for number in taken if resources[number] == resource]
        assert mine == sorted(mine)
