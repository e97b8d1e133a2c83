"""This file is what is to be thought of a whole audit log: its chain, its roots, and what follows if one is wrong.

::

    chain     each line names the hash of the one before        a line changed, added or removed shows at the next
    roots     a key has signed the hash of one line             a chain that was written anew shows, and a short one

Lines are read twice: first for the roots among them, then for the hashes that those name.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.audit import lines as auditlines
from gateway.audit import roots
from gateway.audit.lines import Entry, Verdict
from gateway.audit.roots import Root

Lines = Callable[[], Iterable[tuple[str, bytes]]]
"""Yields each line with where it stands, from the beginning at each call."""
NO_KEY: Final = "no root is signed by a key that was given: nothing says that the log is the one it was"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be thought of a log. `broken` is the first thing that is wrong, or None."""

    chain: Verdict
    broken: str | None
    proven: int
    """The number of the last line that was not changed since a root was signed; 0 if there is none."""
    proven_at: str
    """When that root was made, by the word of who signed it."""
    roots: int
    older: int
    """Roots that speak of lines which are not kept any more."""
    keys: tuple[str, ...] = ()
    """The keys that have signed, in PEM, in order of their first root."""


@dataclass(slots=True)
class _Seen:
    """What following the chain has brought to light of the lines that roots speak of."""

    wanted: Collection[int]
    hashes: dict[int, str] = field(default_factory=dict)
    has_begun: bool = False

    def take(self, entry: Entry, line_hash: str) -> None:
        if not self.has_begun and entry.act.action != auditlines.TORN:
            self.hashes[entry.number - 1] = entry.previous  # the last line of those that are not kept any more
        self.has_begun = True
        if entry.number in self.wanted:
            self.hashes[entry.number] = line_hash


def judge(lines: Lines, beside: Sequence[Root], *, only: Collection[str] = ()) -> Finding:
    """Follow the chain, and hold it against the roots in it and those that were kept beside it.

    `only` are the keys (PEM) that may have signed; with none any key may, which is then told. Raises
    KeyUnreadableError.
    """
    allowed = {roots.key_text(pem) for pem in only}
    found = sorted({*beside, *_among(lines())}, key=lambda root: root.number)
    seen = _Seen({root.number for root in found})
    chain = auditlines.verify(lines(), seen=seen.take)
    known: dict[str, bool] = {}
    good: Root | None = None
    older = 0
    broken = chain.broken
    for root in found:
        if chain.broken is not None and root.number > chain.last:
            break  # of what comes after a break nothing is known
        fault = _fault(root, chain, seen.hashes, allowed)
        if fault is not None:
            broken = fault
            break
        known[root.key] = True
        older += root.number not in seen.hashes
        good = root if root.number in seen.hashes and root.number >= chain.first else good
    if broken is None and allowed and not known:
        broken = NO_KEY
    return Finding(
        chain=chain,
        broken=broken,
        proven=good.number if good else 0,
        proven_at=good.at if good else "",
        roots=len(found),
        older=older,
        keys=tuple(Root("", 0, "", "", "", key).public_pem for key in known),
    )


def with_rows(finding: Finding, differs: Sequence[int]) -> Finding:
    """Return the finding on a console's log of which the rows of these lines say other than the lines themselves."""
    if finding.broken is not None or not differs:
        return finding
    more = f", and {len(differs) - 1} more" if len(differs) > 1 else ""
    said = f"the entry that is shown for line {differs[0]} says other than the line{more}: the line is what was written"
    return replace(finding, broken=said)


def _among(lines: Iterable[tuple[str, bytes]]) -> Iterable[Root]:
    for _, line in lines:
        entry = auditlines.parsed(line) if roots.ACTION.encode() in line else None
        root = roots.of(entry) if entry else None
        if root is not None:
            yield root


def _fault(root: Root, chain: Verdict, hashes: dict[int, str], allowed: Collection[str]) -> str | None:
    """Return what is wrong with a root, or with the log that it speaks of."""
    if not roots.is_signed(root):
        return f"the root that speaks of line {root.number} is not signed by the key that it names"
    if allowed and root.key not in allowed:
        return f"the root that speaks of line {root.number} is signed by a key that is none of those given"
    if root.number > chain.last:
        return (
            f"the log ends with line {chain.last}, and a root made {root.at} speaks of line {root.number}: "
            "lines were removed from its end"
        )
    if hashes.get(root.number, root.head) != root.head:
        return (
            f"line {root.number} is not the one that a root made {root.at} speaks of: it, or one before it, was "
            "written anew"
        )
    return None


def in_words(finding: Finding) -> list[str]:
    """Return a finding as sentences."""
    chain = finding.chain
    if finding.broken is None:
        return _whole(finding)
    told = [f"Broken. {finding.broken}."]
    if chain.broken is not None and chain.last:
        told.append(f"Lines {chain.first} to {chain.last} hold together; the last of them says {chain.until}.")
        told.append(f"From there on nothing is proven: {chain.unproven} line{'' if chain.unproven == 1 else 's'}.")
    if finding.proven:
        told.append(f"A root made {finding.proven_at} proves the lines up to number {finding.proven}.")
        told.append("What stands after that line may have been changed, added or removed.")
    else:
        told.append("No root proves any of its lines: compare with what was forwarded or exported before.")
    return told


def _whole(finding: Finding) -> list[str]:
    chain = finding.chain
    if not chain.entries:
        return ["The audit log is empty."]
    torn = f" {chain.torn} of them torn by a cut, and noted." if chain.torn else ""
    told = [
        f"The chain of {chain.entries} lines, number {chain.first} to {chain.last}, holds.{torn}",
        f"Its head is {chain.head}.",
    ]
    if finding.proven:
        after = chain.last - finding.proven
        told.append(f"A root made {finding.proven_at} proves the lines up to number {finding.proven}; {after} follow.")
    else:
        told.append("No root speaks of them: whoever could write the file could have written all of it.")
    if finding.older:
        told.append(f"{finding.older} roots speak of older lines, which are not kept here.")
    return told
