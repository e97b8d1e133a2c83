"""This file is how ids are made: random ones that sort by time, and derived ones that repeat."""

import secrets
from datetime import datetime
from uuid import UUID, uuid5

MACHINE_NAMESPACE = UUID("6f0c2f0e-6f55-5a52-9d0a-3d2a3f0f9a51")


def new_id(now: datetime) -> UUID:
    """Return a fresh UUIDv7 (RFC 9562, 5.7): the milliseconds of `now`, then 74 random bits."""
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return UUID(int=value)


def machine_uuid(cluster: UUID, pool: str, ordinal: int) -> UUID:
    """Return the instance UUID of one machine; the same cluster, pool and ordinal give the same UUID.

    This is what lets a step that was cut find the machine it made instead of making a second one.
    """
    return uuid5(MACHINE_NAMESPACE, f"{cluster}/{pool}/{ordinal}")
