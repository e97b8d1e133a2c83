"""This file is the wire layout of yamux v0: twelve bytes of header, and how they are read from a stream of bytes.

::

     0        1        2                 4                                 8                                12
    +--------+--------+-----------------+---------------------------------+---------------------------------+
    | version|  type  |      flags      |            stream id            |             length              | payload
    +--------+--------+-----------------+---------------------------------+---------------------------------+
      0        DATA 0   SYN 1  ACK 2      0 for PING and GO_AWAY            DATA: bytes of payload that follow
               WINDOW 1 FIN 4  RST 8                                        WINDOW: credit; with RST: why
               PING 2                                                       PING: value; GO_AWAY: code
               GO_AWAY 3

Nothing in here keeps a stream's state. Source: hashicorp/yamux, spec.md; our profile of it is docs/protocol.md.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias

from gateway.kit.errors import GatewayError

Bytes: TypeAlias = bytes | bytearray | memoryview

HEADER = struct.Struct(">BBHII")
VERSION = 0
DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
ANY_FLAGS = SYN | ACK | FIN | RST
LARGEST_ID = 2**32 - 1


class GoAway(IntEnum):
    """Why a session ends."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class Reset(IntEnum):
    """Why a stream was cut; sent in the length field of a frame with RST."""

    UNSPECIFIED = 0
    REFUSED_POLICY = 1
    TARGET_UNREACHABLE = 2
    TIMEOUT = 3
    BUSY = 4
    INTERNAL = 5
    CANCELLED = 6
    IDLE = 7

    @classmethod
    def read(cls, number: int) -> "Reset":
        """Return the reason for a number off the wire; one that is not known is UNSPECIFIED."""
        return cls(number) if number in cls._value2member_map_ else cls.UNSPECIFIED


class ProtocolBrokenError(GatewayError):
    """The peer broke the protocol of the data WebSocket; the session ends."""

    code = "tunnel.protocol_broken"


def pack(kind: int, flags: int, stream: int, length: int) -> bytes:
    """Return a header."""
    return HEADER.pack(VERSION, kind, flags, stream, length)


OnFrame = Callable[[int, int, int, int, Bytes], None]
"""Called with kind, flags, stream id, length and payload (empty unless DATA)."""


class FrameReader:
    """Cuts a stream of bytes into frames, whatever the borders of the messages that carried it.

    `largest` is the most bytes of payload a DATA frame may have; it is checked before anything is kept.
    """

    __slots__ = ("_kept", "_largest", "_need", "_on_frame")

    def __init__(self, on_frame: OnFrame, *, largest: int) -> None:
        self._on_frame = on_frame
        self._largest = largest
        self._kept = bytearray()
        self._need = HEADER.size

    @property
    def kept(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._kept)

    def feed(self, message: bytes) -> None:
        """Take the next bytes and hand on each frame that is complete. Raises ProtocolBrokenError."""
        if self._kept:
            message = self._completed(message)
            if not message:
                return
        view = memoryview(message)
        at, end = 0, len(message)
        while end - at >= HEADER.size:
            version, kind, flags, stream, length = HEADER.unpack_from(message, at)
            payload_end = at + HEADER.size
            if kind == DATA:
                payload_end += length
            self._check(version, kind, flags, stream, length)
            if payload_end > end:
                break
            self._on_frame(kind, flags, stream, length, view[at + HEADER.size : payload_end])
            at = payload_end
        if at < end:
            self._keep(view[at:])

    def _keep(self, rest: memoryview) -> None:
        self._kept += rest
        self._need = HEADER.size
        if len(self._kept) >= HEADER.size:
            _, kind, _, _, length = HEADER.unpack_from(self._kept)
            self._need += length if kind == DATA else 0

    def _completed(self, message: bytes) -> bytes:
        """Add to the frame that was begun; once it is whole, return it and what follows it."""
        if len(self._kept) + len(message) < self._need:
            self._kept += message
            return b""
        whole = bytes(self._kept) + bytes(message)
        self._kept.clear()
        return whole

    def _check(self, version: int, kind: int, flags: int, stream: int, length: int) -> None:  # noqa: PLR0917 - a header's fields
        if version != VERSION:
            raise ProtocolBrokenError(f"a frame says version {version}, only {VERSION} is spoken")
        if kind > GO_AWAY:
            raise ProtocolBrokenError(f"a frame says type {kind}, there is none")
        if flags & ~ANY_FLAGS:
            raise ProtocolBrokenError(f"a frame says flags {flags:#06x}, some of them are none")
        if kind == DATA and length > self._largest:
            raise ProtocolBrokenError(f"a frame announces {length} bytes, at most {self._largest} are taken")
        if (stream == 0) != (kind in (PING, GO_AWAY)):
            raise ProtocolBrokenError(f"a frame of type {kind} names stream {stream}")
