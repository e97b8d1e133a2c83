"""This file is the appliance's audit log on disk: appended to by several processes, flushed, and never rewritten.

::

    audit.log            the newest lines
    audit.log.000001     older ones, the oldest file first; the chain goes on from file to file
    audit.roots          the signed roots, also of lines that are not kept any more, one a line
    audit.lock           held while lines are written: the daemon and the command line both write

What was appended is on the disk before what it tells of goes on.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from gateway.audit import lines as auditlines
from gateway.audit import roots
from gateway.audit.lines import Act, End, Verdict
from gateway.audit.roots import Root
from gateway.kit import files
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

SEGMENT: Final = 16 * 1024 * 1024
"""Bytes after which a new file is begun."""
KEPT: Final = 20
"""Older files that are kept; the oldest goes when there are more."""
ROOTS_KEPT: Final = 4000
"""Roots that are kept beside the log."""
TAIL: Final = 64 * 1024
"""Bytes at a file's end that are looked at first for its last lines."""


class AuditNotWrittenError(GatewayError):
    """The audit log cannot be written, and nothing is done that is not in it."""

    code = "audit.not_written"
    remedy = Remedy.OPERATOR


class AuditUnreadableError(GatewayError):
    """The audit log cannot be read."""

    code = "audit.unreadable"
    remedy = Remedy.OPERATOR


class AuditBrokenError(GatewayError):
    """The audit log was changed after it was written."""

    code = "audit.broken"
    remedy = Remedy.OPERATOR


class AuditLog:
    """The log in one state directory. Calls block; any thread and several processes may call at a time."""

    def __init__(self, state: Path, *, clock: Clock, segment: int = SEGMENT) -> None:
        self._path = state / "audit.log"
        self._lock = state / "audit.lock"
        self._roots = state / "audit.roots"
        self._clock = clock
        self._segment = segment

    def append(self, acts: Sequence[Act]) -> None:
        """Write acts, all or none; they are on the disk when this returns. Raises AuditNotWrittenError."""
        with self._written(), self._held(fcntl.LOCK_EX):
            self._rotate_if_full()
            self._append(acts)

    def end(self) -> End:
        """Return where the chain stands; a torn end is told of first. Raises AuditNotWrittenError."""
        with self._written(), self._held(fcntl.LOCK_EX):
            size = self._path.stat().st_size if self._path.exists() else 0
            end = self._end_of(self._path, size) if size else self._end_of_older()
            if end.whole:
                return end
            self._append([])
            return self._end_of(self._path, self._path.stat().st_size)

    def seal(self, root: Root) -> None:
        """Write a root into the log and beside it. Raises AuditNotWrittenError."""
        with self._written(), self._held(fcntl.LOCK_EX):
            self._rotate_if_full()
            self._append([roots.act(root)])
            kept = [*self._beside(), root][-ROOTS_KEPT:]
            files.write_whole(self._roots, b"".join(roots.written(one) + b"\n" for one in kept))

    def roots(self) -> list[Root]:
        """Return the roots that are kept beside the log, the oldest first. Raises AuditUnreadableError."""
        try:
            return self._beside()
        except OSError as fault:
            raise AuditUnreadableError(f"the roots {self._roots} cannot be read: {fault.strerror}") from fault

    def closed(self) -> int:
        """Return the number of the file that was closed last, or 0. Raises AuditUnreadableError."""
        try:
            older = self._older()
        except OSError as fault:
            raise AuditUnreadableError(f"the audit log {self._path} cannot be read: {fault.strerror}") from fault
        return int(older[-1].suffix[1:]) if older else 0

    def sizes(self) -> list[tuple[Path, int, int]]:
        """Return the files, the oldest first, with their inodes and how much of each is there for good.

        Raises AuditUnreadableError.
        """
        try:
            with self._held(fcntl.LOCK_SH):
                found = [(path, path.stat()) for path in self._segments()]
        except OSError as fault:
            raise AuditUnreadableError(f"the audit log {self._path} cannot be read: {fault.strerror}") from fault
        return [(path, one.st_ino, one.st_size) for path, one in found]

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Yield each line that is there now with where it stands, without its end. Raises AuditUnreadableError."""
        try:
            with ExitStack() as opened:
                with self._held(fcntl.LOCK_SH):
                    found = [opened.enter_context(path.open("rb")) for path in self._segments()]
                    sizes = [os.fstat(file.fileno()).st_size for file in found]
                for file, size in zip(found, sizes, strict=True):
                    yield from _lines(file, size)
        except OSError as fault:
            raise AuditUnreadableError(f"the audit log {self._path} cannot be read: {fault.strerror}") from fault

    def verify(self) -> Verdict:
        """Follow the chain from the oldest line that is kept. Raises AuditUnreadableError."""
        return auditlines.verify(self.lines())

    def _append(self, acts: Sequence[Act]) -> None:
        handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, files.PRIVATE_FILE)
        with FileIO(handle, "r+") as file:
            before = file.seek(0, os.SEEK_END)
            end = _end(file, before) if before else self._end_of_older()
            gap = b"\n" if before and not _is_line_end(file, before) else b""
            try:
                _write(file, gap + auditlines.chained(end, acts, at=self._clock.now().isoformat()))
                os.fsync(handle)
            except OSError:
                file.truncate(before)
                raise
        if before == 0:
            files.flush_directory(self._path.parent)

    def _rotate_if_full(self) -> None:
        if not self._path.exists() or self._path.stat().st_size < self._segment:
            return
        older = self._older()
        number = int(older[-1].suffix[1:]) + 1 if older else 1
        closed = self._path.with_name(f"{self._path.name}.{number:06}")
        if closed.exists():  # a rename would put it out of the way without a word
            raise FileExistsError(errno.EEXIST, f"{closed.name} is there already")
        self._path.rename(closed)
        for path in older[: max(0, len(older) + 1 - KEPT)]:
            path.unlink()
        files.flush_directory(self._path.parent)

    def _segments(self) -> list[Path]:
        return [*self._older(), *([self._path] if self._path.exists() else [])]

    def _older(self) -> list[Path]:
        """Return the closed files, the oldest first; what others have put beside them, such as copies, is none."""
        own = re.compile(re.escape(self._path.name) + r"\.[0-9]{6}")
        return sorted(path for path in self._path.parent.iterdir() if own.fullmatch(path.name))

    def _end_of_older(self) -> End:
        older = self._older()
        return self._end_of(older[-1], older[-1].stat().st_size) if older else End()

    @staticmethod
    def _end_of(path: Path, size: int) -> End:
        with FileIO(path) as file:
            return _end(file, size)

    def _beside(self) -> list[Root]:
        try:
            content = self._roots.read_bytes()
        except FileNotFoundError:
            return []
        return [root for line in content.splitlines() if (root := roots.read(line)) is not None]

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise AuditNotWrittenError(
                f"the appliance's audit log cannot be written ({fault.strerror}): nothing is done that is not in it; "
                "make room on its disk, or see what is wrong with it",
            ) from fault

    @contextmanager
    def _held(self, how: int) -> Iterator[None]:
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, files.PRIVATE_FILE)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)


def _end(file: FileIO, size: int) -> End:
    """Return where the chain stands at the end of a file; all of it is read when its end alone does not tell."""
    for begin in (max(0, size - TAIL), 0):
        content = os.pread(file.fileno(), size - begin, begin).removesuffix(b"\n")
        whole, *rest = content.rsplit(b"\n", 1)
        last = rest[0] if rest else whole
        if begin and not rest:
            continue
        entry = auditlines.parsed(last)
        if entry is not None:
            return End(entry.number, auditlines.digest(last))
        if before := next((one for line in reversed(content.split(b"\n")) if (one := auditlines.parsed(line))), None):
            return End(before.number, auditlines.digest(last), whole=False)
    return End(0, auditlines.digest(last), whole=False)


def _is_line_end(file: FileIO, size: int) -> bool:
    return os.pread(file.fileno(), 1, size - 1) == b"\n"


def _write(file: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file.fileno(), left) :]


def _lines(file: BinaryIO, size: int) -> Iterator[tuple[str, bytes]]:
    number = 0
    name = Path(file.name).name
    while size > 0 and (line := file.readline(size)):
        number += 1
        size -= len(line)
        yield f"{name}, line {number}", line.removesuffix(b"\n")
