"""This file is the lines of the audit log and the chain they make; it opens no file.

::

    {"action": …, "at": …, "facts": {…}, "number": 7, "outcome": …, "previous": <SHA-256 of the line before>}

A changed, added or removed line breaks the chain at the next one. A line that a power cut has torn belongs to the chain
as it stands; the line after it says so, with its hash.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.kit.logs import without_secrets

Outcome = Literal["began", "ok", "ended", "refused", "failed"]
Fact = str | int | float | None

NOTHING_BEFORE: Final = "0" * 64
LONGEST_FACT: Final = 300
TORN: Final = "audit.torn_line"
"""The action of the line after a torn one."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that was done or refused."""

    action: str
    outcome: Outcome
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log."""

    number: int
    at: str
    act: Act
    previous: str


@dataclass(frozen=True, slots=True)
class End:
    """Where the chain stands: the last line's number and hash, and whether it is a line of ours or a torn one."""

    number: int = 0
    head: str = NOTHING_BEFORE
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What following the chain has shown. `head` is to be compared with one that was kept elsewhere."""

    entries: int
    first: int
    last: int
    """The number of the last line that holds."""
    head: str
    torn: int
    broken: str | None
    """Where the chain is broken, or None."""
    until: str = ""
    """When the last line that holds was written, by its own word."""
    unproven: int = 0
    """Lines from the broken one on."""


def digest(line: bytes) -> str:
    """Return the hash by which the next line names this one, which is given without its end."""
    return hashlib.sha256(line).hexdigest()


def parsed(line: bytes) -> Entry | None:
    """Return what a line says, or None when it is torn or none of ours."""
    try:
        found = json.loads(line)
        act = Act(str(found["action"]), found["outcome"], dict(found["facts"]))
        return Entry(int(found["number"]), str(found["at"]), act, str(found["previous"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def chained(end: End, acts: Iterable[Act], *, at: str) -> bytes:
    """Return the lines of `acts` as they follow on `end`, and first a word about it if it is torn."""
    number, head, content = end.number, end.head, bytearray()
    torn = () if end.whole else (Act(TORN, "failed", {"hash": end.head}),)
    for act in (*torn, *acts):
        number += 1
        line = _line(Entry(number, at, act, head))
        head = digest(line)
        content += line + b"\n"
    return bytes(content)


def verify(
    lines: Iterable[tuple[str, bytes]], *, seen: Callable[[Entry, str], None] = lambda _entry, _hash: None
) -> Verdict:
    """Follow the chain through lines, each given with where it stands. The first may follow on older, lost ones.

    `seen` is called with each line that holds, and its hash.
    """
    end: End | None = None
    entries = first = torn = 0
    until = ""
    left = iter(lines)

    def verdict(broken: str | None) -> Verdict:
        last = end or End()
        unproven = 0 if broken is None else 1 + sum(1 for _ in left)
        return Verdict(entries, first, last.number, last.head, torn, broken, until, unproven)

    for where, line in left:
        entry = parsed(line)
        entries += 1
        if entry is None:
            torn += 1
            if end is not None and not end.whole:
                return verdict(f"{where}: two lines in a row are damaged")
            end = End(end.number if end else 0, digest(line), whole=False)
            continue
        fault = _fault(entry, end)
        if fault is not None:
            return verdict(f"{where}: {fault}")
        first, until = first or entry.number, entry.at
        end = End(entry.number, digest(line))
        seen(entry, end.head)
    return verdict(None)


def _fault(entry: Entry, end: End | None) -> str | None:
    if end is None:
        begins = entry.number == 1
        return "the first line names one before it" if begins and entry.previous != NOTHING_BEFORE else None
    if entry.previous != end.head:
        return "it does not follow on the line before: that one, or one between, was changed or removed"
    if end.number and entry.number != end.number + 1:
        return f"it is number {entry.number} after {end.number}"
    if not end.whole and (entry.act.action != TORN or entry.act.facts.get("hash") != end.head):
        return "the line before is damaged"
    return None


def _line(entry: Entry) -> bytes:
    document = {
        "action": entry.act.action,
        "at": entry.at,
        "facts": {name: _plain(value) for name, value in entry.act.facts.items() if value is not None},
        "number": entry.number,
        "outcome": entry.act.outcome,
        "previous": entry.previous,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.replace("\x7f", "\\u007f").encode()  # the one control character that JSON leaves as it is


def _plain(value: Fact) -> Fact:
    return without_secrets(value)[:LONGEST_FACT] if isinstance(value, str) else value
