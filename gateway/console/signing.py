"""This file is how commands are signed before they are sent, and with which of the console's keys.

Each delivery has an envelope of its own, good for minutes: one that is held back on the way is worth nothing later. A
key that another process has brought in is used from the next delivery on, after the gateway was told of it.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from gateway.console.records import StoredCommand
from gateway.contract.messages import Deliver
from gateway.contract.signing import CommandKeys, Sealed
from gateway.contract.version import SIGNED_SINCE
from gateway.identity import commandkeys, envelope
from gateway.identity.commandkeys import Ring
from gateway.kit.clock import Clock


class Keys:
    """The console's command keys, as they are on the disk."""

    def __init__(self, directory: Path, *, clock: Clock) -> None:
        self.clock = clock
        self._directory = directory
        self._ring = commandkeys.keep(directory)
        self._changed = directory.stat().st_mtime_ns

    def ring(self) -> Ring:
        """Return the keys as they are now. Raises KeyUnreadableError."""
        changed = self._directory.stat().st_mtime_ns
        if changed != self._changed:
            self._ring, self._changed = commandkeys.read(self._directory), changed
        return self._ring


@dataclass(slots=True)
class Signer:
    """Who signs on one connection of one gateway, which speaks that version and knows that key."""

    keys: Keys
    gateway: UUID
    protocol: int
    known: str | None
    _ring: Ring = field(init=False)

    def __post_init__(self) -> None:
        self._ring = self.keys.ring()

    def news(self) -> CommandKeys | None:
        """Return what the gateway is to be told of the keys before anything else is sent; None for nothing."""
        if self.protocol < SIGNED_SINCE or self.known == self._ring.public:
            return None
        self.known = self._ring.public
        return self._ring.told

    async def look(self) -> CommandKeys | None:
        """Take another key if there is one, and return what the gateway is to be told. Raises KeyUnreadableError."""
        self._ring = await asyncio.to_thread(self.keys.ring)
        return self.news()

    def delivery(self, stored: StoredCommand) -> Deliver:
        """Return a command as it is sent now."""
        body = stored.command.model_dump(mode="json")
        if self.protocol < SIGNED_SINCE:
            return Deliver(command_id=stored.id, command=body)
        now = self.keys.clock.now()
        sealed = Sealed(
            gateway_id=self.gateway,
            command_id=stored.id,
            seq=stored.seq,
            kind=stored.command.task.kind,
            body_sha256=envelope.body_digest(body),
            not_before=now,
            expires_at=now + envelope.GOOD_FOR,
        )
        return Deliver(command_id=stored.id, command=body, envelope=envelope.seal(sealed, self._ring.key))
