"""This file is what both ends of an interoperability test send: bytes that tell their place."""

import hashlib
import json
from dataclasses import dataclass
from typing import Protocol

PERIOD = bytes(range(251))
"""Byte i of any transfer is i mod 251: a piece that is lost or doubled moves every later byte."""

PIECE = 64 * 1024
"""What is written at once, and so the largest frame: the profile's limit."""


def pattern(start: int, count: int) -> bytes:
    """Return `count` bytes of the material from `start`."""
    phase = start % len(PERIOD)
    return (PERIOD * ((count + phase) // len(PERIOD) + 1))[phase : phase + count]


def digest(count: int) -> str:
    """Return the SHA-256 of the first `count` bytes, in hexadecimal."""
    return hashlib.sha256(pattern(0, count)).hexdigest()


def asking(what: str, **more: int) -> str:
    """Return the preamble that asks the other end for a behaviour: echo, source, sink, slow or farewell."""
    return json.dumps({"do": what, **more})


@dataclass(frozen=True, slots=True)
class Received:
    """What was read of a stream, and how that ended: "more", "end" or "reset"."""

    count: int
    sha256: str
    ended: str

    @classmethod
    def whole(cls, count: int) -> "Received":
        """Return what an undamaged transfer of `count` bytes is received as."""
        return cls(count, digest(count), "end")


class Peer(Protocol):
    """One end of a data session, whoever has written it. Streams are named by their ids."""

    async def open(self, preamble: str | None) -> tuple[int, str]:
        """Open a stream and return its id and the reply; without a preamble wait for no reply."""

    async def send(self, stream: int, count: int, *, piece: int = PIECE) -> None:
        """Write `count` bytes of the material; returns when the library has taken them all."""

    async def receive(self, stream: int, count: int = -1) -> Received:
        """Read up to `count` bytes, or to the end."""

    async def read_text(self, stream: int) -> str:
        """Read a short text, to the end."""

    async def finish(self, stream: int) -> None:
        """Say that nothing more will be written."""

    async def go_away(self) -> None:
        """Ask for no new streams."""

    async def streams(self) -> int:
        """Tell how many streams are open."""

    async def let_read(self) -> None:
        """Let the streams read that were asked to be slow."""

    async def wait_closed(self) -> str:
        """Wait until the session is over and return why, in the library's own words."""
