"""This file is when a console, or a proxy before it, wants to be called again."""

import re

AT_MOST = 3600.0
SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
IN_REASON = re.compile(r"\bretry-after=([0-9]{1,9})\b", re.ASCII)


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3), at most an hour.

    The form with a date is left aside: it is worth what the two clocks are worth.
    """
    if header is None or not SECONDS.fullmatch(header.strip()):
        return None
    return min(float(header), AT_MOST)


def retry_after_close(reason: str) -> float | None:
    """Return the seconds that the reason of a close frame names as retry-after=N, at most an hour."""
    found = IN_REASON.search(reason)
    return retry_after(found[1]) if found else None
