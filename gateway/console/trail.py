"""This file is what the audit log tells of one stream: that it began, then how it ended or why it was refused.

The beginning is on disk before anybody is asked for the stream, so no byte flows that nobody can account for. A
beginning without an end is a stream that was open when the console was killed.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from gateway.console.records import AuditEntry, AuditOutcome, Caller
from gateway.console.store import audit
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from gateway.contract.problems import problem_of
from gateway.contract.streams import UserPreamble
from gateway.kit import ids
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

ACTION = "tunnel.stream"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for streams, and from where."""

    caller: Caller
    address: str

    @property
    def scope(self) -> Scope:
        """Whose gateways may be reached."""
        return Scope(self.caller.tenant)


@dataclass(frozen=True, slots=True)
class Trail:
    """The entries of one stream; `trace` stands in the logs of both ends."""

    store: Store
    clock: Clock
    visitor: Visitor
    wish: UserPreamble
    trace: UUID

    async def began(self, session: UUID) -> None:
        """Write that the stream is about to be asked for. Raises StoreUnavailableError: then it must not be."""
        await self._write(AuditOutcome.BEGAN, session=str(session))

    async def refused(self, fault: GatewayError) -> None:
        """Write that there is no stream, and why."""
        problem = problem_of(fault)
        await self._write_at_last(AuditOutcome.REFUSED, code=problem.code, reason=problem.message[:500])

    async def ended(self, reason: str, *, since: datetime, sent: int, received: int) -> None:
        """Write how the stream ended: bytes to the target and from it, and seconds since the target answered."""
        seconds = round((self.clock.now() - since).total_seconds(), 3)
        await self._write_at_last(AuditOutcome.ENDED, reason=reason, seconds=seconds, sent=sent, received=received)

    async def _write_at_last(self, outcome: AuditOutcome, **facts: str | float | None) -> None:
        try:
            await self._write(outcome, **facts)
        except GatewayError as fault:
            # What happened has happened; the log is the last place that can tell.
            log.exception("audit entry lost", trace=str(self.trace), outcome=outcome, because=fault.code, **facts)

    async def _write(self, outcome: AuditOutcome, **facts: str | float | None) -> None:
        now = self.clock.now()
        about: dict[str, str | float | None] = {
            "trace": str(self.trace),
            "key": self.visitor.caller.key_id,
            "address": self.visitor.address,
            "lane": self.wish.lane,
        }
        entry = AuditEntry(
            id=ids.new_id(now),
            at=now,
            actor=self.visitor.caller.user,
            action=ACTION,
            gateway=self.wish.gateway,
            target=self.wish.target,
            outcome=outcome,
            facts=about | facts,
        )
        async with self.store.writing(self.visitor.scope) as rows:
            await audit.append(rows, entry)
        log.info(
            "stream audited",
            outcome=outcome,
            gateway=entry.gateway,
            target=entry.target,
            actor=entry.actor,
            **entry.facts,
        )
