"""This file is RFC 6455 framing for one busy WebSocket: it copies each byte once, and masks and parses in place.

The handshake is the `websockets` library's; from then on only binary messages travel, without extensions, and they
are a stream of bytes: where one message ends and the next begins means nothing. Everything else ends the connection
with the close code of RFC 6455, section 7.4.1.

::

    0               1               2               3
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |F|R R R| opcode|M| length 7    | length 16 or 64, if 126 or 127|   mask (4), if M; then the payload
    +-+-+-+-+-------+-+-------------+-------------------------------+
"""

import os
import struct
from collections.abc import Callable
from typing import NamedTuple

from gateway.kit.errors import GatewayError
from gateway.tunnel.frames import Bytes
from gateway.tunnel.limits import LARGEST_MESSAGE

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library's own fall-back, on machines without its C part
    from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY = 0, 1, 2
CLOSE, PING, PONG = 8, 9, 10
FIN_BIT, RESERVED_BITS, MASK_BIT = 0x80, 0x70, 0x80
NORMAL, PROTOCOL_ERROR, UNSUPPORTED, POLICY, TOO_BIG = 1000, 1002, 1003, 1008, 1009
LARGEST_CONTROL = 125
FRAGMENTS = 1024
"""Frames of one message, at most."""
CAPACITY = 320 * 1024
LARGEST_HEAD = 14


class WebSocketBrokenError(GatewayError):
    """The peer broke RFC 6455, or sends what this WebSocket does not take."""

    code = "tunnel.websocket_broken"

    def __init__(self, message: str, *, close_code: int) -> None:
        super().__init__(message, close_code=close_code)
        self.close_code = close_code


class Control(NamedTuple):
    """A control frame: CLOSE, PING or PONG."""

    opcode: int
    payload: bytes


class Writer:
    """Makes frames. A client masks what it sends, a server does not."""

    def __init__(self, *, masks: bool) -> None:
        self._masks = masks
        self._random = b""

    def message(self, pieces: list[Bytes], *, opcode: int = BINARY) -> bytes:
        """Return one whole frame with these pieces as its payload."""
        size = sum(map(len, pieces))
        if not self._masks:
            return b"".join([_head(opcode, size, 0), *pieces])
        key = self._key()
        head = _head(opcode, size, MASK_BIT) + key
        # Masked twice is not masked: so the head survives, and head and payload need one pass and no second join.
        shift = -len(head) % 4
        turned = key[shift:] + key[:shift]
        plain_head = apply_mask(head, turned)
        return apply_mask(b"".join([plain_head, *pieces]), turned)

    def close(self, code: int, reason: str) -> bytes:
        """Return a close frame; the reason is cut to what fits."""
        text = reason.encode()[: LARGEST_CONTROL - 2].decode(errors="ignore").encode()
        return self.message([struct.pack(">H", code), text], opcode=CLOSE)

    def _key(self) -> bytes:
        if len(self._random) < 4:
            self._random = os.urandom(4096)
        key, self._random = self._random[:4], self._random[4:]
        return key


def _head(opcode: int, size: int, mask: int) -> bytes:
    if size < 126:
        return bytes((FIN_BIT | opcode, mask | size))
    if size < 65536:
        return struct.pack(">BBH", FIN_BIT | opcode, mask | 126, size)
    return struct.pack(">BBQ", FIN_BIT | opcode, mask | 127, size)


class Reader:
    """Takes bytes in a buffer of its own and hands on the payload of binary messages, and control frames.

    Frames that fit the buffer are handed on whole; of larger ones the pieces, as they come.
    """

    def __init__(
        self, *, masked: bool, on_payload: Callable[[bytes], None], on_control: Callable[[Control], None]
    ) -> None:
        self._masked = masked
        self._on_payload = on_payload
        self._on_control = on_control
        self._buffer = bytearray(CAPACITY)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._in_message = False
        self._message_size = 0
        self._fragments = 0
        self._left = 0
        self._key = b""
        self._stopped = False

    def room(self) -> memoryview:
        """Return where the next bytes go."""
        return self._view[self._filled :]

    def filled(self, size: int) -> None:
        """Take note that so many bytes were put there, and hand on what they complete. Raises WebSocketBrokenError."""
        if self._stopped:
            return
        self._filled += size
        at = 0
        while True:
            step = self._rest(at) if self._left else self._frame(at)
            if step == 0:
                break
            at += step
        if at:
            rest = self._filled - at
            self._view[:rest] = self._view[at : self._filled]
            self._filled = rest

    def stop(self) -> None:
        """Take no notice of anything that still comes."""
        self._stopped = True
        self._filled = 0

    def feed(self, data: bytes) -> None:
        """Take bytes that came another way. Raises WebSocketBrokenError."""
        while data:
            room = self.room()
            part = data[: len(room)]
            room[: len(part)] = part
            self.filled(len(part))
            data = data[len(part) :]

    def _frame(self, at: int) -> int:
        """Hand on the frame that begins there; return its length, or 0 when it is not complete."""
        head, size = self._head(at)
        if head == 0:
            return 0
        first = self._buffer[at]
        opcode = first & 0x0F
        if self._masked:
            self._key = bytes(self._view[at + head - 4 : at + head])
        whole = head + size
        if opcode < CLOSE and whole > CAPACITY:
            self._counted(first, opcode, size)
            self._left = size
            return head
        if self._filled - at < whole:
            return 0
        payload = self._plain(at + head, size)
        if opcode >= CLOSE:
            self._on_control(Control(opcode, payload))
        else:
            self._counted(first, opcode, size)
            if size:
                self._on_payload(payload)
        return whole

    def _head(self, at: int) -> tuple[int, int]:
        """Return the lengths of the head, mask included, and of the payload; a head of 0 when it is not complete."""
        have = self._filled - at
        if have < 2:
            return 0, 0
        size = self._buffer[at + 1] & 0x7F
        self._check(self._buffer[at], self._buffer[at + 1], size)
        head = {126: 4, 127: 10}.get(size, 2)
        if have < head:
            return 0, 0
        if head > 2:
            size = int.from_bytes(self._view[at + 2 : at + head], "big")
            if size < (126 if head == 4 else 65536):
                raise _broken("a frame's length is not written in the shortest way")
            if size > LARGEST_MESSAGE:
                raise _too_big()
        head += 4 if self._masked else 0
        return (head, size) if have >= head else (0, 0)

    def _rest(self, at: int) -> int:
        """Hand on more of a frame that is larger than the buffer."""
        size = min(self._filled - at, self._left)
        if size == 0:
            return 0
        self._left -= size
        payload = self._plain(at, size)
        if self._masked:
            shift = size % 4
            self._key = self._key[shift:] + self._key[:shift]
        self._on_payload(payload)
        return size

    def _plain(self, at: int, size: int) -> bytes:
        view = self._view[at : at + size]
        return apply_mask(view, self._key) if self._masked else bytes(view)

    def _check(self, first: int, second: int, size: int) -> None:
        opcode = first & 0x0F
        if first & RESERVED_BITS:
            raise _broken("a frame uses an extension; none was agreed, compression least of all")
        if bool(second & MASK_BIT) != self._masked:
            raise _broken("a frame is masked, or not masked, against RFC 6455")
        if opcode >= CLOSE:
            if opcode > PONG or not first & FIN_BIT or size > LARGEST_CONTROL:
                raise _broken("a control frame is malformed")
        elif opcode == TEXT:
            raise WebSocketBrokenError("a text message came; only binary ones are taken", close_code=UNSUPPORTED)
        elif opcode > BINARY or (opcode == CONTINUATION) != self._in_message:
            raise _broken("a data frame is out of place")

    def _counted(self, first: int, opcode: int, size: int) -> None:
        """Take note of a data frame's place in its message, before anything of it is kept."""
        if opcode == BINARY:
            self._message_size = self._fragments = 0
        self._message_size += size
        self._fragments += 1
        self._in_message = not first & FIN_BIT
        if self._message_size > LARGEST_MESSAGE or self._fragments > FRAGMENTS:
            raise _too_big()


def _broken(text: str) -> WebSocketBrokenError:
    return WebSocketBrokenError(text, close_code=PROTOCOL_ERROR)


def _too_big() -> WebSocketBrokenError:
    return WebSocketBrokenError("a message is too big, or in too many pieces", close_code=TOO_BIG)
