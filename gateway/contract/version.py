"""This file is the protocol's version: one integer that grows, and what each number brought.

Both ends say the highest they speak; both then speak the lower of the two.

1  2026-11-21  hello and welcome, commands with accepted and rejected, numbered events with cumulative acknowledgement
"""

PROTOCOL = 1
OLDEST_SPOKEN = 1
