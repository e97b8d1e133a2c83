"""This file is what it costs to keep a piece of a message: a view keeps all of it, so crumbs are copied.

A peer that sends one byte in each message would otherwise have us hold many times its credit.
"""

from collections import deque
from typing import cast

from gateway.tunnel.frames import Bytes

SMALL, SPARSE = 4096, 4
"""Pieces of fewer bytes, or of less than one part in SPARSE of the message they came in, are crumbs."""


def is_crumb(piece: memoryview) -> bool:
    """Tell whether keeping the view costs more than a copy."""
    return len(piece) < SMALL or len(piece) * SPARSE < len(cast("bytes", piece.obj))


def append(pieces: deque[Bytes], piece: Bytes) -> None:
    """Keep a piece behind others; crumbs that follow each other become one."""
    if len(piece) >= SMALL:
        pieces.append(dense(piece))
    elif pieces and isinstance(last := pieces[-1], bytearray):
        last += piece
    else:
        pieces.append(bytearray(piece))


def dense(piece: Bytes) -> Bytes:
    """Return the piece, or a copy of it when it is a crumb of something larger."""
    return bytes(piece) if isinstance(piece, memoryview) and is_crumb(piece) else piece
