"""This file is words for the terminal: text from elsewhere made harmless (gateway.kit.plain), and numbers of bytes."""

from gateway.kit.plain import plain

__all__ = ["plain", "size"]


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    if count < 1024:
        return f"{count} bytes"
    amount = count / 1024
    for unit in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
