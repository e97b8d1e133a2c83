"""This file is what becomes of a stream that the console opens: judged, dialled, told of in the audit log, joined.

::

    preamble -> understood? -> granted? -> target known? -> room? -> address allowed? -> dialled
                    |             |             |              |             |               |
                    +-------------+-------------+---- refused -+-------------+---------------+---> audit, reply
                                                                                          audit, reply "ok", bytes

A refusal is an answer on that stream and harms no other. Nothing is dialled or joined that the audit log does not hold.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from gateway.appliance.audit import AuditLog, AuditNotWrittenError
from gateway.appliance.auditlines import Act, Fact
from gateway.appliance.auditor import Auditor
from gateway.appliance.consoletime import ConsoleTime
from gateway.appliance.reach import AddressRefusedError
from gateway.appliance.resolving import Dialled, Dialler
from gateway.appliance.targets import Target, Targets
from gateway.contract import streams as contract
from gateway.contract.messages import Welcome
from gateway.contract.streams import StreamPreamble, StreamReply
from gateway.identity import grants
from gateway.identity.grants import GrantRefusedError, Grants
from gateway.identity.keys import KeyUnreadableError
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.kit.ids import new_id
from gateway.tunnel.buckets import Bucket
from gateway.tunnel.frames import Reset
from gateway.tunnel.schedule import Lane
from gateway.tunnel.splice import splice
from gateway.tunnel.stream import Stream

log = structlog.get_logger(__name__)

DIAL_LIMIT: Final = 10.0
FAREWELL: Final = 5.0
"""Seconds in which whoever opened a refused stream is to end it."""
REFUSALS_A_SECOND: Final = 2.0
REFUSALS_AT_ONCE: Final = 500.0
"""Refusals beyond that are counted in the next one's line, as `untold`, and have none of their own."""
LOOK_AGAIN: Final = 5.0
"""Seconds after which the targets of open streams are compared with what is allowed now."""


class StreamsBusyError(GatewayError):
    """The appliance carries as many streams as it may."""

    code = "stream.busy"
    remedy = Remedy.RETRY


class StreamAbandonedError(GatewayError):
    """Whoever opened the stream has gone before it was answered."""

    code = "stream.abandoned"
    remedy = Remedy.RETRY


@dataclass(frozen=True, slots=True)
class Room:
    """How many streams there may be."""

    all: int = 1000
    per_target: int = 200


@dataclass(slots=True)
class _Visit:
    """One stream, and what is known of it so far; it goes into the audit log."""

    stream: Stream
    session: str
    id: UUID
    target: Target | None = None
    name: str = ""
    facts: dict[str, Fact] = field(default_factory=dict)


class StreamService:
    """Takes the streams of all data sessions. `run` cuts those whose target is no longer what it was."""

    def __init__(
        self,
        *,
        gateway: UUID,
        targets: Targets,
        audit: Auditor,
        dialler: Dialler,
        clock: Clock,
        room: Room | None = None,
    ) -> None:
        self._gateway = gateway
        self._targets = targets
        self._audit = audit
        self._dialler = dialler
        self._clock = clock
        self._room = room or Room()
        self._time = ConsoleTime(clock)
        self.ready = asyncio.Event()
        """Set once the console has told its grant key; before that no stream can be opened."""
        self._key: str | None = None
        self._grants: Grants | None = None
        self._visits: dict[UUID, _Visit] = {}
        self._refusals = Bucket(rate=REFUSALS_A_SECOND, depth=REFUSALS_AT_ONCE, now=clock.monotonic())
        self._untold = 0
        self._per_target: Counter[str] = Counter()

    def welcomed(self, welcome: Welcome, *, asked: float) -> None:
        """Take the console's time and grant key; `asked` is when the hello was sent, by the monotonic clock.

        A console without a key, or with one that cannot be read, opens no streams.
        """
        self._time.heard(welcome.server_time, asked=asked)
        if welcome.grant_key == self._key:  # the same key keeps the memory of what was used
            return
        self._key, self._grants = welcome.grant_key, None
        self.ready.clear()
        if welcome.grant_key is None:
            return
        try:
            self._grants = Grants(grants.read_public(welcome.grant_key))
            self.ready.set()
        except KeyUnreadableError as error:
            log.warning("no streams: the console's grant key cannot be read", error=error.message)

    def taker(self, session: str) -> Callable[[Stream, bytes], Awaitable[None]]:
        """Return what takes the streams of the data session of that id."""

        async def on_stream(stream: Stream, preamble: bytes) -> None:
            await self._take(_Visit(stream, session, new_id(self._clock.now())), preamble)

        return on_stream

    async def run(self) -> None:
        """Cut streams to targets that were removed or changed, until cancelled."""
        while True:
            await self._clock.sleep(LOOK_AGAIN)
            for visit in list(self._visits.values()):
                if visit.target is not None and not await asyncio.to_thread(self._is_as_it_was, visit):
                    log.info(
                        "stream cut, its target was removed or changed", target=visit.name, connection=str(visit.id)
                    )
                    visit.stream.reset(Reset.REFUSED_POLICY)

    async def _take(self, visit: _Visit, preamble: bytes) -> None:
        visit.facts |= {"session": visit.session, "connection": str(visit.id)}
        try:
            dialled = await self._open(visit, preamble)
        except GatewayError as error:
            await self._refuse(visit, error)
            return
        except asyncio.CancelledError:
            self._audit.note(_refused(visit, StreamAbandonedError()))
            raise
        try:
            await self._carry(visit, dialled)
        finally:
            self._per_target[visit.name] -= 1
            del self._visits[visit.id]
            dialled.connection.close()

    async def _open(self, visit: _Visit, preamble: bytes) -> Dialled:
        """Return the connection, which the audit log knows of; the visit then holds a place."""
        wish = contract.read_preamble(preamble)
        visit.name = wish.target
        visit.facts |= {"trace": str(wish.trace), "target": wish.target, "lane": wish.lane}
        self._check_grant(visit, wish)
        visit.target = await asyncio.to_thread(self._targets.read, wish.target)
        visit.stream.set_lane(Lane(wish.lane))
        within = min(DIAL_LIMIT, wish.deadline_ms / 1000)
        self._take_place(visit)
        try:
            return await self._dialled(visit, visit.target, within=within)
        except BaseException:
            self._per_target[visit.name] -= 1
            del self._visits[visit.id]
            raise

    def _check_grant(self, visit: _Visit, wish: StreamPreamble) -> None:
        now = self._time.now()
        if self._grants is None or now is None:
            raise GrantRefusedError("the grant is refused: the console has not yet told this appliance its grant key")
        grant = self._grants.check(
            wish.grant,
            gateway=self._gateway,
            target=wish.target,
            session=visit.session,
            now=now,
            doubt=self._time.doubt(),
        )
        visit.facts |= {"user": grant.user, "tenant": grant.tenant, "grant": str(grant.id)}

    def _take_place(self, visit: _Visit) -> None:
        if len(self._visits) >= self._room.all:
            raise StreamsBusyError(f"the appliance carries {self._room.all} streams, the most it may: try again later")
        if self._per_target[visit.name] >= self._room.per_target:
            raise StreamsBusyError(f"the target has {self._room.per_target} streams, the most it may: try again later")
        self._visits[visit.id] = visit
        self._per_target[visit.name] += 1

    async def _dialled(self, visit: _Visit, target: Target, *, within: float) -> Dialled:
        dialled = await self._dialler.dial(target, within=within)
        visit.facts |= {"address": str(dialled.address), "port": target.port}
        try:
            if visit.stream.fault is not None:
                raise StreamAbandonedError
            await self._audit.write(Act("stream.opened", "ok", visit.facts))
        except BaseException:
            dialled.connection.close()
            raise
        return dialled

    async def _carry(self, visit: _Visit, dialled: Dialled) -> None:
        visit.stream.answer(contract.write(StreamReply(status="ok", connection_id=visit.id)))
        began, before = self._clock.monotonic(), (visit.stream.received, visit.stream.sent)
        fault: str | None = "the session ended"
        try:
            fault = (await splice(visit.stream, dialled.connection)).fault
        except OSError as error:
            fault = error.strerror
            visit.stream.reset(Reset.TARGET_UNREACHABLE)
        finally:
            facts: dict[str, Fact] = {
                "connection": str(visit.id),
                "target": visit.name,
                "trace": visit.facts["trace"],
                "received": visit.stream.received - before[0],
                "sent": visit.stream.sent - before[1],
                "seconds": round(self._clock.monotonic() - began, 3),
                "fault": fault,
            }
            self._audit.note(Act("stream.closed", "failed" if fault else "ok", facts))

    async def _refuse(self, visit: _Visit, error: GatewayError) -> None:
        await self._tell_of_refusal(visit, error)
        stream = visit.stream
        if stream.fault is not None:
            return
        stream.answer(contract.write(contract.refusal(error, connection_id=visit.id)))
        stream.end()
        try:
            async with asyncio.timeout(FAREWELL):
                while await stream.read():
                    pass
        except (TimeoutError, GatewayError):
            stream.reset(Reset.REFUSED_POLICY)

    async def _tell_of_refusal(self, visit: _Visit, error: GatewayError) -> None:
        """Write a refusal down, or count it where a flood of them would push older lines out of the log."""
        if not self._refusals.take(self._clock.monotonic()):
            self._untold += 1
            return
        visit.facts["untold"], self._untold = self._untold or None, 0
        log.info("stream refused", code=error.code, target=visit.name, session=visit.session, connection=str(visit.id))
        with contextlib.suppress(AuditNotWrittenError):  # refused it is all the same
            await self._audit.write(_refused(visit, error))

    def _is_as_it_was(self, visit: _Visit) -> bool:
        try:
            return self._targets.read(visit.name) == visit.target
        except GatewayError:
            return False


@asynccontextmanager
async def serving(state: Path, gateway: UUID, targets: Targets, *, clock: Clock) -> AsyncIterator[StreamService]:
    """Yield the service of the appliance whose state is in that directory; its audit log is whole at the end."""
    with Auditor(AuditLog(state, clock=clock).append) as audit, contextlib.closing(Dialler()) as dialler:
        yield StreamService(gateway=gateway, targets=targets, audit=audit, dialler=dialler, clock=clock)


def _refused(visit: _Visit, error: GatewayError) -> Act:
    why = {"address": error.address, "why": error.why} if isinstance(error, AddressRefusedError) else {}
    return Act("stream.refused", "refused", {**visit.facts, "code": error.code, "message": error.message, **why})
