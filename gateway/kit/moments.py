"""This file is how a moment is written: everywhere alike, in UTC, and always with its zone."""

from datetime import UTC, datetime


def minute(moment: datetime) -> str:
    """Return a moment for people, such as 2026-01-31 09:05 UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def stamp(moment: datetime) -> str:
    """Return a moment for programs, by RFC 3339 and to the second, such as 2026-01-31T09:05:00Z."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def second(moment: datetime) -> str:
    """Return a moment to the second, for what is read beside a log."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
