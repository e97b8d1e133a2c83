"""This file is which data sessions are of the appliance that was greeted, and not of who has a copy of its TLS key.

Two who say hello as one gateway are found out; data sessions say no hello. So each appliance is told a secret with its
welcome, and its data sessions show that. The secret is that of one boot, and made anew from a secret of the console's:
a command channel that comes back, or a console that was restarted, cuts no stream.
"""

import hmac
from uuid import UUID

from gateway.contract.version import IDENTITY_SINCE
from gateway.identity.challenge import digest

DOMAIN = b"private-cloud-gateway latch 1"


class Latches:
    """What the data sessions of each gateway have to show. `secret` (32 bytes or more) is the console's own."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._fitted: dict[UUID, str] = {}

    def fit(self, gateway: UUID, boot: UUID, *, protocol: int) -> str | None:
        """Return what the data sessions show of an appliance that was greeted; None for who speaks no such protocol."""
        if protocol < IDENTITY_SINCE:
            self._fitted.pop(gateway, None)
            return None
        latch = hmac.new(self._secret, digest([DOMAIN, gateway.bytes, boot.bytes]), "sha256").hexdigest()
        self._fitted[gateway] = latch
        return latch

    def opens(self, gateway: UUID, shown: str) -> bool:
        """Tell whether a data session that shows this is the gateway's; before one was greeted, any may be."""
        latch = self._fitted.get(gateway)
        return latch is None or hmac.compare_digest(latch.encode(), shown.encode())
