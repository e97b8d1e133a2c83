"""This file is room that is kept on the disk for the day it is full: a file that is given up then, and made again."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

ROOM_TO_MAKE = 2
"""How many times its own size must be free before a reserve is made (again)."""


@dataclass(slots=True)
class Reserve:
    """A file of `size` bytes beside the journal; 0 for none."""

    path: Path
    size: int

    def keep(self) -> None:
        """Make the file if it is missing and there is room for it; the disk's word counts, so nothing is raised."""
        if not self.size or self._there() or self._free() < ROOM_TO_MAKE * self.size:
            return
        with suppress(OSError):
            self._make()

    def give_up(self) -> bool:
        """Make room by removing the file; tell whether that made any."""
        if not self._there():
            return False
        self.path.unlink(missing_ok=True)
        log.error("disk is full: the reserve is given up, so that what runs can end; make room", reserve=self.size)
        return True

    def free_beside(self) -> int:
        """Return how many bytes are free beside the reserve, which is made again where there can be one."""
        self.keep()
        return self._free()

    def _make(self) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, self.size)
            os.fsync(handle)
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)

    def _there(self) -> bool:
        return self.path.exists()

    def _free(self) -> int:
        found = os.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize
