"""This file is how a moment is written for people: everywhere alike, and always with its zone."""

from datetime import UTC, datetime


def minute(moment: datetime) -> str:
    """Return a moment to the minute, such as 2026-01-31 09:05 UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def second(moment: datetime) -> str:
    """Return a moment to the second, for what is read beside a log."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
