"""This file is what becomes of a stream that the console opens: judged, dialled, told of in the audit log, joined.

::

    preamble -> understood? -> granted? -> target allowed, known? -> room? -> address allowed? -> audit -> dialled
                    |             |             |              |             |             |         |
                    +-------------+-------------+---- refused -+-------------+-------------+---------+---> audit, reply
                                                                                                  reply "ok", bytes

A refusal is an answer on that stream and harms no other. Nothing is dialled that the audit log does not hold, with its
address and for whom, on the disk. What became of it is written as soon as the disk takes it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from gateway.appliance.audit import AuditLog, AuditNotWrittenError
from gateway.appliance.auditor import Auditor
from gateway.appliance.consoletime import ConsoleTime
from gateway.appliance.reach import AddressRefusedError
from gateway.appliance.resolving import Dialled, Dialler
from gateway.appliance.room import Places, Room
from gateway.appliance.targets import Target, Targets
from gateway.audit.lines import Act, Fact, Outcome
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
from gateway.tunnel.stream import Stream, farewell

log = structlog.get_logger(__name__)

DIAL_LIMIT: Final = 10.0
REFUSALS_A_SECOND: Final = 2.0
REFUSALS_AT_ONCE: Final = 500.0
"""Refusals beyond that are counted in the next one's line, as `untold`, and have none of their own."""
LOOK_AGAIN: Final = 5.0
"""Seconds after which the targets of open streams are compared with what is allowed now."""


class StreamAbandonedError(GatewayError):
    """Whoever opened the stream has gone before it was answered."""

    code = "stream.abandoned"
    remedy = Remedy.RETRY


Allowed = Callable[[str, str], Awaitable[None]]
"""Asks the site's policy about a target and a lane; raises what is against it."""


async def anything(_target: str, _lane: str) -> None:
    """Allow every target there is."""


@dataclass(slots=True)
class _Visit:
    """One stream, and what is known of it so far; it goes into the audit log."""

    stream: Stream
    session: str
    id: UUID
    target: Target | None = None
    name: str = ""
    user: str = ""
    is_told: bool = False
    """Whether the audit log tells that it is being opened; then it tells what became of it, too."""
    facts: dict[str, Fact] = field(default_factory=dict)


class StreamService:
    """Takes the streams of all data sessions. `run` looks after those that are open."""

    def __init__(
        self,
        *,
        gateway: UUID,
        targets: Targets,
        audit: Auditor,
        dialler: Dialler,
        clock: Clock,
        room: Room | None = None,
        allowed: Allowed = anything,
    ) -> None:
        self._gateway = gateway
        self._targets = targets
        self._audit = audit
        self._dialler = dialler
        self._clock = clock
        self._allowed = allowed
        self._places = Places(room or Room(), now=clock.monotonic())
        self.time = ConsoleTime(clock)
        self.ready = asyncio.Event()
        """Set once the console has told its grant key; before that no stream can be opened."""
        self.latch: str | None = None
        """What the console has told last that data sessions show."""
        self._key: str | None = None
        self._grants: Grants | None = None
        self._visits: dict[UUID, _Visit] = {}
        self._refusals = Bucket(rate=REFUSALS_A_SECOND, depth=REFUSALS_AT_ONCE, now=clock.monotonic())
        self._untold = 0

    def welcomed(self, welcome: Welcome, *, asked: float) -> None:
        """Take the console's time, latch and grant key; `asked` is when the hello was sent, by the monotonic clock.

        A console without a key, or with one that cannot be read, opens no streams.
        """
        self.time.heard(welcome.server_time, asked=asked)
        self.latch = welcome.latch
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
        """Cut streams whose target was removed or changed, and write what the disk did not take, until cancelled."""
        while True:
            await self._clock.sleep(LOOK_AGAIN)
            self._audit.retry()
            open_now = [visit for visit in self._visits.values() if visit.target is not None]
            found = await asyncio.to_thread(self._read, {visit.name for visit in open_now})
            for visit in open_now:
                if found[visit.name] != visit.target:
                    self._cut(visit, "its target was removed or changed")
                elif not await self._is_still_allowed(visit):
                    self._cut(visit, "the policy has come to forbid it")

    async def _is_still_allowed(self, visit: _Visit) -> bool:
        try:
            await self._allowed(visit.name, str(visit.facts["lane"]))
        except GatewayError:
            return False
        return True

    def _cut(self, visit: _Visit, why: str) -> None:
        log.info("stream cut", why=why, target=visit.name, connection=str(visit.id))
        visit.stream.reset(Reset.REFUSED_POLICY)

    async def _take(self, visit: _Visit, preamble: bytes) -> None:
        visit.facts |= {"session": visit.session, "connection": str(visit.id)}
        try:
            dialled = await self._open(visit, preamble)
        except GatewayError as error:
            await self._refuse(visit, error)
            return
        except asyncio.CancelledError:
            if (act := self._telling(visit, StreamAbandonedError())) is not None:
                self._audit.keep(act)
            raise
        try:
            await self._carry(visit, dialled)
        finally:
            self._leave(visit)
            dialled.connection.close()

    async def _open(self, visit: _Visit, preamble: bytes) -> Dialled:
        """Return the connection, which the audit log knows of; the visit then holds a place."""
        wish = contract.read_preamble(preamble)
        visit.name = wish.target
        visit.facts |= {"trace": str(wish.trace), "target": wish.target, "lane": wish.lane}
        self._check_grant(visit, wish)
        await self._allowed(wish.target, wish.lane)
        visit.target = await asyncio.to_thread(self._targets.read, wish.target)
        visit.stream.set_lane(Lane(wish.lane))
        within = min(DIAL_LIMIT, wish.deadline_ms / 1000)
        self._places.take(target=visit.name, user=visit.user, now=self._clock.monotonic())
        self._visits[visit.id] = visit
        try:
            return await self._dialled(visit, visit.target, within=within)
        except BaseException:
            self._leave(visit)
            raise

    def _leave(self, visit: _Visit) -> None:
        self._places.give_back(target=visit.name, user=visit.user)
        del self._visits[visit.id]

    def _check_grant(self, visit: _Visit, wish: StreamPreamble) -> None:
        now = self.time.now()
        if self._grants is None or now is None:
            raise GrantRefusedError("the grant is refused: the console has not yet told this appliance its grant key")
        try:
            grant = self._grants.check(
                wish.grant,
                gateway=self._gateway,
                target=wish.target,
                session=visit.session,
                now=now,
                doubt=self.time.doubt(),
            )
        except GrantRefusedError as refused:
            if refused.untimely:
                self.time.misfits()
            raise
        self.time.fits()
        visit.user = grant.user
        visit.facts |= {"user": grant.user, "tenant": grant.tenant, "grant": str(grant.id)}

    async def _dialled(self, visit: _Visit, target: Target, *, within: float) -> Dialled:
        ends = self._clock.monotonic() + within
        judged = await self._dialler.judge(target, within=within)
        _check_is_wanted(visit)
        visit.facts |= {"address": " ".join(str(address) for address in judged), "port": target.port}
        visit.is_told = True
        await self._audit.write(Act("stream.opening", "began", dict(visit.facts)))
        _check_is_wanted(visit)
        dialled = await self._dialler.connect(judged, target.port, within=max(0.0, ends - self._clock.monotonic()))
        try:
            _check_is_wanted(visit)
        except StreamAbandonedError:
            dialled.connection.close()
            raise
        self._audit.keep(_became(visit, "opened", "ok", user=visit.user, address=str(dialled.address)))
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
            counted: dict[str, Fact] = {
                "ended": self._clock.now().isoformat(),  # the line itself may be written later
                "received": visit.stream.received - before[0],
                "sent": visit.stream.sent - before[1],
                "seconds": round(self._clock.monotonic() - began, 3),
                "fault": fault,
            }
            self._audit.keep(_became(visit, "closed", "failed" if fault else "ok", **counted))

    async def _refuse(self, visit: _Visit, error: GatewayError) -> None:
        await self._tell_of_refusal(visit, error)
        await farewell(visit.stream, contract.write(contract.refusal(error, connection_id=visit.id)))

    async def _tell_of_refusal(self, visit: _Visit, error: GatewayError) -> None:
        act = self._telling(visit, error)
        if act is None:
            return
        log.info("stream refused", code=error.code, target=visit.name, session=visit.session, connection=str(visit.id))
        with contextlib.suppress(AuditNotWrittenError):  # refused it is all the same
            await self._audit.write(act)

    def _telling(self, visit: _Visit, error: GatewayError) -> Act | None:
        """Return the line about a refusal, or count it where a flood of them would push older lines out of the log."""
        if not visit.is_told and not self._refusals.take(self._clock.monotonic()):
            self._untold += 1
            return None
        untold, self._untold = self._untold or None, 0
        return _refused(visit, error, untold=untold)

    def _read(self, names: Collection[str]) -> dict[str, Target | None]:
        """Return the targets of those names as they are now, None for one that is gone or damaged."""
        found: dict[str, Target | None] = dict.fromkeys(names)
        for name in names:
            with contextlib.suppress(GatewayError):
                found[name] = self._targets.read(name)
        return found


@asynccontextmanager
async def serving(
    state: Path, gateway: UUID, targets: Targets, *, allowed: Allowed, clock: Clock
) -> AsyncIterator[StreamService]:
    """Yield the service of the appliance whose state is in that directory; its audit log is whole at the end."""
    with Auditor(AuditLog(state, clock=clock).append) as audit, contextlib.closing(Dialler()) as dialler:
        yield StreamService(
            gateway=gateway, targets=targets, audit=audit, dialler=dialler, clock=clock, allowed=allowed
        )


def _check_is_wanted(visit: _Visit) -> None:
    if visit.stream.fault is not None:
        raise StreamAbandonedError


def _became(visit: _Visit, what: str, outcome: Outcome, **facts: Fact) -> Act:
    """Return the line about what became of a stream whose opening tells the rest."""
    named = {"connection": str(visit.id), "target": visit.name, "trace": visit.facts["trace"]}
    return Act(f"stream.{what}", outcome, {**named, **facts})


def _refused(visit: _Visit, error: GatewayError, *, untold: int | None) -> Act:
    why = {"address": error.address, "why": error.why} if isinstance(error, AddressRefusedError) else {}
    told = {"code": error.code, "message": error.message, "untold": untold}
    return Act("stream.refused", "refused", {**visit.facts, **told, **why})
