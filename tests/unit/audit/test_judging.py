"""This file is the promises of signed roots: who holds one sees whatever was done to the lines before it."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit import judging, roots
from gateway.audit.judging import Finding
from gateway.audit.lines import Act, End, chained, digest, parsed
from gateway.audit.roots import Root
from gateway.identity.devicekeys import new
from tests.unit.audit.logs import NAME, a_chain, a_root, an_act

KEY = new()


def the(lines: Iterable[bytes]) -> Callable[[], list[tuple[str, bytes]]]:
    found = [(f"line {place}", line) for place, line in enumerate(lines, 1)]
    return lambda: found


def judged(lines: list[bytes], *beside: Root, only: tuple[str, ...] = ()) -> Finding:
    return judging.judge(the(lines), beside, only=only)


def followed(lines: list[bytes], *acts: Act) -> list[bytes]:
    entry = parsed(lines[-1])
    assert entry is not None
    return [*lines, *chained(End(entry.number, digest(lines[-1])), acts, at="later").splitlines()]


def test_a_log_that_nobody_touched_holds_and_a_root_proves_it() -> None:
    lines = a_chain(6)
    found = judged(lines, a_root(lines[3], KEY))
    assert (found.broken, found.proven, found.roots) == (None, 4, 1)
    assert found.keys == (KEY.public_pem,)


def test_a_root_in_the_log_proves_the_lines_before_it_with_none_kept_beside() -> None:
    lines = a_chain(3)
    lines = followed(lines, roots.act(a_root(lines[2], KEY)), an_act())
    assert (judged(lines).broken, judged(lines).proven) == (None, 3)


def test_a_chain_that_was_written_anew_is_found_by_the_root() -> None:
    lines = a_chain(6)
    root = a_root(lines[3], KEY)
    forged = chained(End(), [an_act(number, user="eve") for number in range(6)], at="then").splitlines()
    found = judged(forged, root)
    assert found.chain.broken is None, "the chain alone does not show it"
    assert found.broken is not None
    assert "line 4 is not the one" in found.broken


def test_what_a_root_proves_is_told_when_a_later_one_does_not_fit() -> None:
    lines = a_chain(6)
    other = chained(End(3, digest(lines[2])), [an_act(9)] * 3, at="then").splitlines()
    found = judged([*lines[:3], *other], a_root(lines[1], KEY), a_root(lines[5], KEY))
    assert found.broken is not None
    assert found.proven == 2
    assert any("up to number 2" in line for line in judging.in_words(found))


def test_lines_taken_off_the_end_are_missed() -> None:
    lines = a_chain(6)
    found = judged(lines[:4], a_root(lines[5], KEY))
    assert found.broken is not None
    assert "removed from its end" in found.broken


def test_the_first_broken_line_is_told_and_what_follows_from_it() -> None:
    lines = a_chain(8)
    lines[4] = lines[4].replace(b"ada", b"eve")
    found = judged(lines, a_root(lines[2], KEY), a_root(lines[7], KEY))
    assert found.broken is not None
    assert found.broken.startswith("line 6:")
    assert (found.chain.last, found.chain.unproven, found.proven) == (5, 3, 3)
    told = "\n".join(judging.in_words(found))
    assert "nothing is proven: 3 lines" in told


@given(st.integers(0, 5), st.sampled_from(["changed", "removed", "doubled", "swapped"]))
def test_nothing_can_be_done_to_a_line_before_the_root(place: int, how: str) -> None:
    lines = a_chain(8)
    root = a_root(lines[6], KEY)
    match how:
        case "changed":
            lines[place] = lines[place].replace(b"ada", b"eve")
        case "removed" if place:  # that the oldest lines are gone is what rotation does
            del lines[place]
        case "doubled":
            lines.insert(place, lines[place])
        case "swapped":
            lines[place], lines[place + 1] = lines[place + 1], lines[place]
        case _:
            return
    assert judged(lines, root).broken is not None


@pytest.mark.parametrize("field", ["log", "head", "at", "why", "number"])
def test_a_root_whose_word_was_changed_is_none(field: str) -> None:
    lines = a_chain(3)
    root = a_root(lines[1], KEY)
    facts = {name: getattr(root, name) for name in ("log", "number", "head", "at", "why", "key", "signature")}
    changed = Root(**(facts | {field: 1 if field == "number" else f"x{facts[field]}"}))
    assert not roots.is_signed(changed)
    assert judged(lines, changed).broken is not None


def test_a_root_by_another_key_is_refused_where_the_key_is_known() -> None:
    lines = a_chain(3)
    eve = a_root(lines[2], new())
    assert judged(lines, eve).broken is None
    assert judged(lines, eve, only=(KEY.public_pem,)).broken is not None


def test_a_log_without_roots_does_not_pass_for_one_of_a_known_key() -> None:
    assert judged(a_chain(3)).broken is None
    assert judged(a_chain(3), only=(KEY.public_pem,)).broken == judging.NO_KEY


def test_older_files_that_are_gone_break_nothing() -> None:
    lines = a_chain(8)
    found = judged(lines[4:], a_root(lines[1], KEY), a_root(lines[3], KEY), a_root(lines[6], KEY))
    assert (found.broken, found.proven, found.older) == (None, 7, 1)


def test_a_root_also_binds_the_last_line_that_is_gone() -> None:
    lines = a_chain(8)
    forged = chained(End(4, "f" * 64), [an_act(9)] * 4, at="then").splitlines()
    assert judged(forged, a_root(lines[3], KEY)).broken is not None


def test_what_claims_to_be_a_root_and_is_none_breaks_the_log() -> None:
    lines = followed(a_chain(2), Act(roots.ACTION, "ok", {"log": NAME, "line": "two"}))
    assert judged(lines).broken is not None


def test_what_is_written_beside_is_read_again() -> None:
    root = a_root(a_chain(1)[0], KEY)
    assert roots.read(roots.written(root)) == root
    assert roots.is_signed(root)
    assert [roots.read(line) for line in (b"", b"{}", b"[]", b'{"log":1}')] == [None] * 4
