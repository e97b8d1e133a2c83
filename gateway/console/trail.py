"""This file is what the audit log tells of one stream: that it began, then how it ended or why it was refused.

The beginning is on disk before anybody is asked for the stream, so no byte flows that nobody can account for. A
beginning without an end is a stream that was open when the console was killed. What is turned away before it has named
a target is told by its key and address, and not each time.
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
SAID = 100
"""Characters that are kept of a preamble which is none."""
Fact = str | int | float | None

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

    async def _write_at_last(self, outcome: AuditOutcome, **facts: Fact) -> None:
        try:
            await self._write(outcome, **facts)
        except GatewayError as fault:
            # What happened has happened; the log is the last place that can tell.
            log.exception("audit entry lost", trace=str(self.trace), outcome=outcome, because=fault.code, **facts)

    async def _write(self, outcome: AuditOutcome, **facts: Fact) -> None:
        about: dict[str, Fact] = {"trace": str(self.trace), "lane": self.wish.lane}
        await _written(self.store, self.clock, self.visitor, outcome=outcome, wish=self.wish, facts=about | facts)


async def turned_away(
    store: Store, clock: Clock, visitor: Visitor, *, fault: GatewayError, said: bytes = b"", untold: int = 0
) -> None:
    """Write that a stream was refused before it was known where to; `untold` others were, of which nothing is written.

    `said` is what it was opened with. Never raises: refused it is all the same.
    """
    facts: dict[str, Fact] = {"code": fault.code, "reason": fault.message[:500]}
    if said:
        facts["said"] = _shown(said)
    if untold:
        facts["untold"] = untold
    try:
        await _written(store, clock, visitor, outcome=AuditOutcome.REFUSED, facts=facts)
    except GatewayError as error:
        log.exception("audit entry lost", user=visitor.caller.user, because=error.code, **facts)


async def _written(
    store: Store,
    clock: Clock,
    visitor: Visitor,
    *,
    outcome: AuditOutcome,
    facts: dict[str, Fact],
    wish: UserPreamble | None = None,
) -> None:
    now = clock.now()
    entry = AuditEntry(
        id=ids.new_id(now),
        at=now,
        actor=visitor.caller.user,
        action=ACTION,
        gateway=wish.gateway if wish else None,
        target=wish.target if wish else None,
        outcome=outcome,
        facts={"key": visitor.caller.key_id, "address": visitor.address, **facts},
    )
    async with store.writing(visitor.scope) as rows:
        await audit.append(rows, entry)
    log.info(
        "stream audited",
        outcome=outcome,
        gateway=entry.gateway,
        target=entry.target,
        actor=entry.actor,
        **entry.facts,
    )


def _shown(said: bytes) -> str:
    """Return bytes as ASCII on one line, cut."""
    return repr(said[:SAID])[2:-1][:SAID]
