"""This file is one stream as the mux sees it: its credit both ways, what waits to be sent, and which ends are over."""

from collections import deque
from dataclasses import dataclass, field

from gateway.tunnel.frames import Bytes
from gateway.tunnel.limits import FIRST_WINDOW
from gateway.tunnel.schedule import Lane
from gateway.tunnel.windows import ReceiveWindow


@dataclass(slots=True, eq=False)
class StreamState:
    """Everything the two ends have to agree on, and the queue of our direction."""

    id: int
    lane: Lane
    window: ReceiveWindow
    credit: int = FIRST_WINDOW
    """Bytes the peer takes."""
    queue: deque[Bytes] = field(default_factory=deque)
    queued: int = 0
    granting: int = 0
    """Credit for the peer that waits to be told."""
    flags: int = 0
    """SYN until the first frame is sent."""
    ending: bool = False
    """Nothing follows what is queued."""
    ended: bool = False
    """And the peer was told."""
    peer_ended: bool = False
    told_full: bool = False
    answered: bool = True
    scheduled: bool = False
    spent: int = 0
    rested_at: float | None = 0.0
    read_at: float = 0.0

    def first_flags(self) -> int:
        """Return SYN for the first frame of a stream we opened, and 0 for any other."""
        flags, self.flags = self.flags, 0
        return flags
