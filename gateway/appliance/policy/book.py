"""This file is the count of what the console has, on disk: read whole, written whole."""

import errno
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from gateway.appliance.policy.quotas import Amount, Booked, Made, Place, Pool, Usage
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy


class UsageUnreadableError(GatewayError):
    """The count of what the console has cannot be read or written."""

    code = "policy.usage_unreadable"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class _There:
    place: Place
    pools: dict[str, Pool]


@dataclass(frozen=True, slots=True)
class _Wish:
    command: UUID
    at: datetime
    place: Place
    pools: dict[str, Pool] | None


@dataclass(frozen=True, slots=True)
class _Page:
    there: list[_There]
    wishes: list[_Wish]
    lately: list[Made]
    ever: Amount


PAGE: Final = TypeAdapter(_Page)


def read(path: Path) -> Usage:
    """Return what was written last, and nothing had where nothing was. Raises UsageUnreadableError."""
    try:
        page = PAGE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return Usage()
    except (OSError, ValidationError) as fault:
        raise UsageUnreadableError(
            f"the count {path} of what the console has is damaged, so nothing is made: restore it from a copy, or "
            "remove it and so begin to count anew"
        ) from fault
    return Usage(
        there={one.place: one.pools for one in page.there},
        wishes={one.command: Booked(one.command, one.at, one.place, one.pools) for one in page.wishes},
        lately=tuple(page.lately),
        ever=page.ever,
    )


def write(path: Path, usage: Usage) -> None:
    """Replace the count; it is on the disk when this returns. Raises UsageUnreadableError."""
    page = _Page(
        there=[_There(place, pools) for place, pools in usage.there.items()],
        wishes=[
            _Wish(one.command, one.at, one.place, None if one.pools is None else dict(one.pools))
            for one in usage.wishes.values()
        ],
        lately=list(usage.lately),
        ever=usage.ever,
    )
    try:
        files.write_whole(path, PAGE.dump_json(page))
    except OSError as fault:
        way_out = "make room on its disk" if fault.errno == errno.ENOSPC else "look at its disk"
        raise UsageUnreadableError(
            f"the count {path} of what the console has cannot be written ({fault.strerror}): {way_out}"
        ) from fault


class Book:
    """The count in one file, which is read again only when somebody else has changed it. Calls block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: tuple[tuple[int, ...], Usage] | None = None

    def read(self) -> Usage:
        """Return the count. Raises UsageUnreadableError."""
        seen, known = self._seen(), self._known
        if known is None or known[0] != seen:
            self._known = known = (seen, read(self.path))
        return known[1]

    def write(self, usage: Usage) -> None:
        """Replace the count; it is on the disk when this returns. Raises UsageUnreadableError."""
        write(self.path, usage)
        self._known = (self._seen(), usage)

    def _seen(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return ()
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
