"""This file is who signs the audit log: with the device key, once a day, when a file of it is closed, and at the end.

What day it is the console has said; before it has, this machine's clock says it.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from gateway.appliance.audit import AuditLog
from gateway.appliance.consoletime import ConsoleTime
from gateway.audit import roots
from gateway.audit.roots import Root, Signer
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

LOOK_EVERY: Final = 60.0
"""Seconds until a new day, or a closed file, is noticed."""

log = structlog.get_logger(__name__)


class Notary:
    """Signs the log. `signer` returns the log's name and the key; it may block, and raise what keeps it from that."""

    def __init__(self, audit: AuditLog, signer: Callable[[], tuple[str, Signer]], *, clock: Clock) -> None:
        self._audit = audit
        self._signer = signer
        self._clock = clock
        self._closed: int | None = None
        self._is_troubled = False
        self.time = ConsoleTime(clock)

    async def run(self) -> None:
        """Sign whenever it is due, until cancelled; what fails is said once and tried again."""
        while True:
            await self._tried(self.look)
            await self._clock.sleep(LOOK_EVERY)

    async def stop(self) -> None:
        """Sign for the last time; what fails is said."""
        await self._tried(lambda: self.sign("stop"))

    def look(self) -> None:
        """Sign if it is due. Blocks; raises what the log and the key raise."""
        closed = self._audit.closed()
        why = self._why(closed)
        if why is not None:
            self.sign(why)
        self._closed = closed

    def sign(self, why: str) -> Root | None:
        """Sign the chain as it stands; None where nothing was written yet, or nothing but the last root."""
        end, beside = self._audit.end(), self._audit.roots()
        if not end.number or (why != "day" and beside and beside[-1].number == end.number - 1):
            return None
        name, key = self._signer()
        root = roots.made(
            key, log=name, number=end.number, head=end.head, at=self._now().isoformat(timespec="seconds"), why=why
        )
        self._audit.seal(root)
        log.info("audit log signed", line=root.number, head=root.head, why=why)
        return root

    def _why(self, closed: int) -> str | None:
        if self._closed is not None and closed > self._closed:
            return "rotation"
        beside = self._audit.roots()
        today = f"{self._now():%Y-%m-%d}"
        return None if beside and beside[-1].at.startswith(today) else "day"

    def _now(self) -> datetime:
        return self.time.now() or self._clock.now()

    async def _tried(self, work: Callable[[], object]) -> None:
        try:
            await asyncio.to_thread(work)
        except GatewayError as fault:
            if not self._is_troubled:
                log.warning("audit log is not signed, will be tried again", code=fault.code, reason=fault.message)
            self._is_troubled = True
        else:
            self._is_troubled = False
