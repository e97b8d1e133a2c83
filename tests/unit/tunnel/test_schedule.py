"""This file is the promises of turns: who says little goes first, and nobody starves."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateway.tunnel.limits import KIB
from gateway.tunnel.schedule import GUARD, LIVELY_ALLOWANCE, REST, Lane, Schedule


@dataclass(eq=False)
class One:
    name: str
    lane: Lane = Lane.AUTO
    spent: int = 0
    rested_at: float = 0.0
    scheduled: bool = False


def served(schedule: Schedule, turns: int, *, size: int = 1000, now: float = 0.0) -> str:
    """Let streams that never run out of data have their turns; return who had them."""
    names = ""
    for _ in range(turns):
        stream = schedule.next()
        assert isinstance(stream, One)
        names += stream.name
        schedule.sent(stream, size, now)
        schedule.add(stream, now)
    return names


def waiting(*streams: One) -> Schedule:
    schedule = Schedule()
    for stream in streams:
        schedule.add(stream, 0.0)
    return schedule


def test_equals_take_turns() -> None:
    assert served(waiting(*(One(name, Lane.BULK) for name in "abc")), 9) == "abcabcabc"


def test_the_interactive_go_first_and_bulk_has_one_turn_in_nine() -> None:
    assert served(waiting(One("b", Lane.BULK), One("i", Lane.INTERACTIVE)), 18) == ("i" * GUARD + "b") * 2


def test_who_says_much_without_a_pause_becomes_bulk_and_after_a_pause_is_lively_again() -> None:
    much, bulk = One("m"), One("b", Lane.BULK)
    schedule = waiting(bulk, much)
    turns = served(schedule, 12, size=LIVELY_ALLOWANCE // 4)
    assert turns.startswith("mmmm")
    assert set(turns[4:6]) == {"b", "m"}
    while not schedule.idle:
        schedule.next()
    much.rested_at = 1.0
    schedule.add(bulk, 1.0 + 2 * REST)
    schedule.add(much, 1.0 + 2 * REST)
    assert schedule.next() is much


def test_a_short_pause_makes_nobody_lively() -> None:
    much = One("m", spent=LIVELY_ALLOWANCE, rested_at=1.0)
    schedule = Schedule()
    schedule.add(much, 1.0 + REST / 2)
    assert schedule.only_bulk


def test_frames_are_small_while_a_lively_stream_shares_with_bulk_and_only_then() -> None:
    alone = waiting(One("b", Lane.BULK))
    served(alone, 3)
    assert not alone.is_lively(0.0)
    shared = waiting(One("b", Lane.BULK), One("i", Lane.INTERACTIVE))
    served(shared, 1, size=10 * KIB)
    assert shared.is_lively(0.1)
    assert not shared.is_lively(1.0)


def test_who_waits_already_keeps_one_place() -> None:
    stream = One("a")
    schedule = waiting(stream, stream, One("b"))
    assert served(schedule, 4) == "abab"


def test_who_was_removed_has_no_turn() -> None:
    stream, other = One("a", Lane.BULK), One("b")
    schedule = waiting(stream, other)
    for one in (stream, other, other):
        schedule.remove(one)
    assert schedule.idle
    schedule.add(stream, 0.0)
    assert schedule.next() is stream


@given(st.lists(st.sampled_from(Lane), min_size=1, max_size=8))
def test_nobody_starves(lanes: list[Lane]) -> None:
    streams = [One(chr(97 + number), lane) for number, lane in enumerate(lanes)]
    turns = served(waiting(*streams), 200)
    assert set(turns) == {stream.name for stream in streams}
