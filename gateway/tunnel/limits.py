"""This file is every limit of a data session: sizes in bytes, rates per second."""

from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024

FIRST_WINDOW = 256 * KIB
"""Credit that a new stream has each way without a word; yamux fixes it."""

MESSAGE = 64 * KIB
INTERACTIVE_FRAME = 16 * KIB
BULK_FRAME = MESSAGE - 12
"""With its header it fills a message."""
LARGEST_MESSAGE = MIB
PREAMBLE, REPLY = 4096, 1024
SMALL_FRAME = 1024
"""Bytes of data below which a frame costs for what it is, and not for what it carries."""
RENEWED_AT, LAST_ID = 2**31, 2**32 - 2**20
"""Stream ids from which a session is worn: its dialler has the next one made. Who has not by the second is made to."""
TOMBSTONES = 1024
"""Ids of closed streams that are remembered, so that what was under way to them harms nobody."""

QUEUED_PONGS = 32
QUEUED_CONTROLS = 8192
"""Frames without data that wait because the peer takes nothing; more of them, and it is given up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may cost; the defaults are the appliance's."""

    streams: int = 1000
    """Streams open at a time, of both ends together."""
    unanswered: int = 256
    """Streams the peer has opened and nobody has answered yet."""
    frame: int = 64 * KIB
    """Payload of a DATA frame that is taken."""
    window: int = 4 * MIB
    """What a stream's window may grow to."""
    budget: int = 64 * MIB
    """Bytes received and not yet read, all streams together."""
    pings: float = 50.0
    """PINGs a second; the first second may bring twice as many, and each 16 KiB of data brings one more."""
    controls: float = 1000.0
    """Frames a second that carry no data, likewise; the first second may bring four times as many."""
    smalls: float = 8000.0
    """Frames or messages a second that carry little; the first second may bring twice as many, data brings more.

    Beyond that the peer is not cut, it is read more slowly: an honest one then puts more into each frame by itself.
    """
