"""This file is the promises of the order of signed commands, and of what a console that forgot is noticed by."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands import sequence
from gateway.commands.sequence import (
    CommandFromBeforeError,
    EnvelopeReplayedError,
    Heard,
    Numbered,
    Numbers,
    OutOfOrderError,
)
from gateway.contract.commands import CONTROL

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SOON = timedelta(minutes=4)


def one(seq: int, *, command: int | None = None, resource: str = "cluster/a", until: datetime = NOW + SOON) -> Numbered:
    return Numbered(seq, UUID(int=seq if command is None else command), resource, until)


def seen(*ones: Numbered) -> Numbers:
    numbers = Numbers()
    for each in ones:
        numbers = sequence.note(numbers, each, now=NOW)
    return numbers


@pytest.mark.attack(21)
def test_a_command_comes_again_under_its_own_number_only() -> None:
    numbers = seen(one(5))
    sequence.check(numbers, one(5), is_known=True)
    for known in (True, False):
        with pytest.raises(EnvelopeReplayedError):
            sequence.check(numbers, one(6, command=5), is_known=known)
        with pytest.raises(EnvelopeReplayedError):
            sequence.check(numbers, one(5, command=9), is_known=known)


@pytest.mark.attack(21)
def test_an_older_command_does_not_come_after_a_newer_one_for_the_same_thing() -> None:
    numbers = seen(one(5), one(7, resource="cluster/b"))
    with pytest.raises(OutOfOrderError):
        sequence.check(numbers, one(4), is_known=False)
    sequence.check(numbers, one(6), is_known=False)
    sequence.check(numbers, one(4, resource="cluster/c"), is_known=False)
    sequence.check(numbers, one(4), is_known=True)
    sequence.check(seen(one(5, resource=CONTROL)), one(4, resource=CONTROL), is_known=False)


def test_what_was_sent_before_a_console_forgot_is_not_begun_afterwards() -> None:
    numbers = Numbers(highest=3, before=10)
    with pytest.raises(CommandFromBeforeError):
        sequence.check(numbers, one(10), is_known=False)
    sequence.check(numbers, one(10), is_known=True)
    sequence.check(numbers, one(11), is_known=False)


def test_what_cannot_come_again_is_forgotten_and_the_highest_number_is_not() -> None:
    numbers = seen(one(5), one(3, resource="cluster/b", until=NOW + 2 * SOON))
    later = sequence.note(numbers, one(4, resource="cluster/c", until=NOW + 2 * SOON), now=NOW + SOON)
    assert [kept.seq for kept in later.lately] == [3, 4]
    assert later.highest == 5


@pytest.mark.attack(21)
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), max_size=40))
def test_whatever_order_commands_come_in_those_of_one_resource_begin_in_the_order_of_their_numbers(
    delivered: list[tuple[int, int]],
) -> None:
    numbers, begun = Numbers(), list[Numbered]()
    for seq, command in delivered:
        this = one(seq, command=command, resource="cluster/a" if command % 2 else "cluster/b")
        is_known = any(other.command == this.command for other in begun)
        try:
            sequence.check(numbers, this, is_known=is_known)
        except sequence.REFUSALS:
            continue
        if not is_known:
            begun.append(this)
        numbers = sequence.note(numbers, this, now=NOW)
    for resource in ("cluster/a", "cluster/b"):
        order = [each.seq for each in begun if each.resource == resource]
        assert order == sorted(order)
    assert len({each.seq for each in begun}) == len(begun) == len({each.command for each in begun})


def test_a_console_that_knows_as_much_as_before_has_forgotten_nothing() -> None:
    numbers = Numbers(highest=7)
    for heard in (Heard(12, 7), Heard(13, 9), Heard(12, None)):
        assert sequence.forgotten(numbers, acknowledged=12, heard=heard) == []


@given(st.integers(0, 20), st.integers(0, 20), st.sets(st.uuids(), max_size=2))
def test_less_of_anything_is_noticed(acknowledged: int, last_seq: int, unknown: set[UUID]) -> None:
    found = sequence.forgotten(Numbers(highest=7), acknowledged=12, heard=Heard(acknowledged, last_seq, unknown))
    assert len(found) == (acknowledged < 12) + (last_seq < 7) + bool(unknown)
