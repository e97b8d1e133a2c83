"""This file is how the audit log is read along while it is written: in order, in bites, holding up nobody who writes.

The log's lock is held only to learn how far each file has come; what was written up to there does not change any more.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.appliance.audit import AuditLog, AuditUnreadableError
from gateway.audit.lines import parsed

BITE: Final = 256 * 1024
"""Bytes that are read at a time; a line is shorter."""
LINES: Final = 200


@dataclass(frozen=True, slots=True)
class Bite:
    """Lines that follow on those before. `missed` ones were gone from the log before they could be read."""

    lines: tuple[bytes, ...]
    last: int
    """The number of the last line that was read, now or before."""
    missed: int


class Follower:
    """Reads on from behind the line of the number `after`, or from the oldest line that is kept. Calls block."""

    def __init__(self, audit: AuditLog, *, after: int) -> None:
        self._audit = audit
        self._last = after
        self._inode: int | None = None
        self._offset = 0

    def read(self) -> Bite:
        """Return what comes next; no lines where nothing does. Raises AuditUnreadableError."""
        files = self._audit.sizes()
        if not files:
            return Bite((), self._last, 0)
        place = self._place(files)
        path, inode, size = files[place]
        is_closed = place < len(files) - 1
        try:
            content = self._content(path, inode, size)
        except OSError as fault:
            raise AuditUnreadableError(f"{path} cannot be read: {fault.strerror}") from fault
        if content is None:
            return Bite((), self._last, 0)  # it was closed just now, and has another name
        lines, eaten = _whole(content, has_all=is_closed and self._offset + len(content) == size)
        self._offset += eaten
        if is_closed and self._offset >= size:
            self._inode, self._offset = files[place + 1][1], 0
        return self._bite(lines)

    def _place(self, files: list[tuple[Path, int, int]]) -> int:
        """Return which file comes next: the one that was read last, or where the first new line is."""
        for place, (_, inode, _) in enumerate(files):
            if inode == self._inode:
                return place
        if self._inode is None and self._audit.end().number < self._last:
            self._last = 0  # it is another log than the one that was read along before
        place = next((place for place in range(len(files) - 1, 0, -1) if self._begins_before(files[place][0])), 0)
        self._inode, self._offset = files[place][1], 0
        return place

    def _begins_before(self, path: Path) -> bool:
        try:
            with path.open("rb") as file:
                entry = parsed(file.readline(BITE))
        except OSError:
            return False
        return entry is not None and entry.number <= self._last + 1

    def _content(self, path: Path, inode: int, size: int) -> bytes | None:
        with path.open("rb") as file:
            if path.stat().st_ino != inode:
                return None
            file.seek(self._offset)
            return file.read(min(BITE, size - self._offset))

    def _bite(self, lines: list[bytes]) -> Bite:
        new: list[bytes] = []
        missed = 0
        for line in lines:
            entry = parsed(line)
            if entry is None:
                new.append(line)
                continue
            if entry.number <= self._last:
                new.clear()  # also what was torn before it: all of it was read the last time
                continue
            missed += entry.number - self._last - 1 if self._last else 0
            self._last = entry.number
            new.append(line)
        return Bite(tuple(new), self._last, missed)


def _whole(content: bytes, *, has_all: bool) -> tuple[list[bytes], int]:
    """Return the lines that are whole, at most LINES, and how many bytes they were; what is torn counts at the end."""
    *lines, rest = content.split(b"\n")
    if rest and len(lines) < LINES and (has_all or len(rest) == BITE):
        return [*lines, rest], len(content)
    taken = lines[:LINES]
    return taken, sum(len(line) + 1 for line in taken)
