"""This file is the protocol's version: one integer that grows, and what each number brought.

Both ends say the highest they speak; both then speak the lower of the two.

1  2026-11-21  hello and welcome, commands with accepted and rejected, numbered events with cumulative acknowledgement
2  2026-11-21  targets in hello, offers, the grant key in welcome: streams to targets through data sessions
3  2026-11-21  certificates that are renewed, trust that is handed on, epochs, sealed cloud accounts, deferred commands,
   commands that are signed
"""

PROTOCOL = 3
OFFERS_SINCE = 2
"""The first version in which an appliance may send offers."""
IDENTITY_SINCE = 3
"""The first version in which certificates are renewed, and all else of the third version is said."""
DEFERRED_SINCE = 3
"""The first version in which an appliance may defer a command, and call an outcome unknown."""
SIGNED_SINCE = 3
"""The first version in which commands come in signed envelopes, and a console tells how many it has sent."""
OLDEST_SPOKEN = 1
