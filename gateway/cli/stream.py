"""This file is how server-sent events are cut out of bytes, however those arrive. It is pure."""

from dataclasses import dataclass, field

from gateway.kit.errors import GatewayError, Remedy

LIMIT = 4 * 1024 * 1024
"""Bytes of the largest event; the largest that a console sends holds an inventory, and is well below."""


class NotAConsoleError(GatewayError):
    """What answers is not a console of this version."""

    code = "cli.not_a_console"
    remedy = Remedy.CALLER


@dataclass(slots=True)
class Events:
    """What has arrived of a stream and is no whole event yet."""

    _rest: bytearray = field(default_factory=bytearray)
    _lines: list[bytes] = field(default_factory=list)
    _held: int = 0

    def take(self, piece: bytes) -> list[bytes]:
        """Take in a piece of the stream and return the data of the events it completes. Raises NotAConsoleError."""
        self._rest += piece
        *lines, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        found = [whole for line in lines if (whole := self._line(bytes(line).rstrip(b"\r"))) is not None]
        if len(self._rest) + self._held > LIMIT:
            raise NotAConsoleError(f"an event is over {LIMIT} bytes: is this a console?")
        return found

    def _line(self, line: bytes) -> bytes | None:
        """Take in one line; the empty one ends an event."""
        if line.startswith(b"data:"):
            self._lines.append(line.removeprefix(b"data:").removeprefix(b" "))
            self._held += len(line)
        elif not line and self._lines:
            whole = b"\n".join(self._lines)
            self._lines, self._held = [], 0
            return whole
        return None
