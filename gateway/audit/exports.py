"""This file is exports of an audit log: JSON lines that anybody can check without us.

::

    {"audit_export": 1, "exported_at": …, "key": PEM or null, "log": id, "source": "appliance" or "console"}
    <line of the log, byte for byte>                    as often as there are lines
    {"torn": hex}                                       one that a cut has torn, in its place
    {"differs": number}                                 (console) a row that says other than the line that stands for it
    {"root": {…}}                                       each root that is kept beside the log
    {"end": number of lines}
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gateway.audit import roots
from gateway.audit.lines import parsed
from gateway.audit.roots import Root
from gateway.kit.errors import GatewayError, Remedy

FORMAT: Final = 1
LONGEST: Final = 1024 * 1024
"""Bytes of the longest line that is read."""


class ExportUnreadableError(GatewayError):
    """A file is no export of an audit log."""

    code = "audit.export_unreadable"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose log it is; `key` is the public part, in PEM, of the key that signs its roots now."""

    source: str
    log: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was found whole; its lines are read from the file each time they are asked for."""

    path: Path
    origin: Origin
    roots: tuple[Root, ...]
    differs: tuple[int, ...]

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Yield the lines of the log, each with where it stands."""
        for where, record in _records(self.path):
            if parsed(record) is not None:
                yield where, record
            elif (torn := _document(record).get("torn")) is not None:
                yield where, bytes.fromhex(torn)


def head(origin: Origin, *, now: datetime) -> bytes:
    """Return an export's first line."""
    return _line(
        {
            "audit_export": FORMAT,
            "exported_at": now.isoformat(),
            "key": origin.key,
            "log": origin.log,
            "source": origin.source,
        }
    )


def line(content: bytes) -> bytes:
    """Return a line of the log as it stands in an export."""
    return content + b"\n" if parsed(content) is not None else _line({"torn": content.hex()})


def tail(beside: Iterable[Root], *, lines: int, differs: Sequence[int] = ()) -> bytes:
    """Return what ends an export."""
    notes: list[dict[str, Any]] = [{"differs": number} for number in differs]
    notes += [{"root": _plain(root)} for root in beside]
    return b"".join(_line(note) for note in [*notes, {"end": lines}])


def read(path: Path) -> Export:
    """Read an export. Raises ExportUnreadableError, also for one that was cut short; OSError travels upwards."""
    records = _records(path)
    origin = _origin(path, next(records, ("", b""))[1])
    body = _Body()
    for where, record in records:
        body.take(where, record)
    if body.end is None:
        raise ExportUnreadableError(f"{path} ends too early: export it again")
    if body.end != body.lines:
        raise ExportUnreadableError(f"{path} has {body.lines} lines and says that there were {body.end}")
    return Export(path, origin, tuple(body.roots), tuple(body.differs))


@dataclass(slots=True)
class _Body:
    """What follows an export's first line."""

    roots: list[Root] = field(default_factory=list)
    differs: list[int] = field(default_factory=list)
    lines: int = 0
    end: int | None = None

    def take(self, where: str, record: bytes) -> None:
        """Take in the next line."""
        if self.end is not None:
            raise ExportUnreadableError(f"{where}: something follows the end of the export")
        if parsed(record) is not None:
            self.lines += 1
            return
        match _document(record):
            case {"root": said}:
                self.roots.append(_root(where, said))
            case {"differs": int(number)}:
                self.differs.append(number)
            case {"end": int(number)}:
                self.end = number
            case {"torn": str(text)} if _is_hex(text):
                self.lines += 1
            case _:
                raise ExportUnreadableError(f"{where}: this is no line of an export")


def _records(path: Path) -> Iterator[tuple[str, bytes]]:
    number = 0
    with path.open("rb") as file:
        while record := file.readline(LONGEST + 1):
            number += 1
            if len(record) > LONGEST:
                raise ExportUnreadableError(f"line {number} is longer than any line of an export")
            yield f"line {number} of the file", record.removesuffix(b"\n")


def _origin(path: Path, record: bytes) -> Origin:
    match _document(record):
        case {"audit_export": 1, "source": str(source), "log": str(log), "key": str() | None as key}:
            return Origin(source, log, key)
        case {"audit_export": found}:
            raise ExportUnreadableError(f"{path} is an export of version {found}: this program reads version {FORMAT}")
    raise ExportUnreadableError(f"{path} is no export of an audit log: make one with `pcg audit export`")


def _root(where: str, said: object) -> Root:
    root = roots.read(json.dumps(said).encode())
    if root is None:
        raise ExportUnreadableError(f"{where}: this is no root")
    return root


def _document(record: bytes) -> dict[str, Any]:
    try:
        found = json.loads(record)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_hex(text: str) -> bool:
    try:
        bytes.fromhex(text)
    except ValueError:
        return False
    return True


def _plain(root: Root) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(roots.written(root))
    return plain


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
