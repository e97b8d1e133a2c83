"""This file is the data sessions that the appliance keeps open, for the streams that the console opens through them.

::

    place 1   session ──── the console goes away ──── its streams finish ──── closed
                                 └── next session ─────────────────────────────────────…      make before break

    place 1   session ── another certificate, or  ──┬─ its streams go on ──── its certificate ends, or they do
                         ids that run low           │
                                 └── next session ──┴──────────────────────────────────…

Each place keeps one session that takes streams; one that is being left is no longer in a place.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import uuid4

import structlog

from gateway.appliance.identity import Identity
from gateway.appliance.outward import Outward
from gateway.appliance.renewal import Turnover
from gateway.appliance.streams import StreamService
from gateway.contract.streams import LATCH_PARAMETER, SESSION_PARAMETER
from gateway.identity import tls
from gateway.kit import supervise
from gateway.kit.backoff import Backoff
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.answers import retry_after_close
from gateway.tunnel.dataline import dial_data
from gateway.tunnel.session import Session

log = structlog.get_logger(__name__)

LEAVE_LIMIT = 600.0
"""Seconds in which the streams of a session that is being left may finish."""


class ConsoleGoesAwayError(GatewayError):
    """The console takes no more streams in this data session."""

    code = "link.console_goes_away"
    remedy = Remedy.RETRY


class CertificateTurnedOverError(GatewayError):
    """The appliance has another certificate than the one that the data session was opened with."""

    code = "link.certificate_turned_over"
    remedy = Remedy.RETRY


class SessionWornError(GatewayError):
    """A data session has used up half of its stream ids; another takes its place."""

    code = "link.session_worn"
    remedy = Remedy.RETRY


@dataclass(slots=True)
class _Place:
    """What one place knows of its session."""

    turned: int
    before: "list[_Place]"
    """Those whose sessions have an older certificate, or few ids left, and are left when this one's is open."""
    worked_since: float | None = None
    followed: asyncio.Event = field(default_factory=asyncio.Event)
    left: "asyncio.Future[GatewayError]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class DataLinks:
    """The appliance's data sessions; `run` keeps them open."""

    def __init__(
        self, identity: Identity, *, streams: StreamService, outward: Outward, turnover: Turnover, clock: Clock
    ) -> None:
        self._identity = identity
        self._turnover = turnover
        self._streams = streams
        self._outward = outward
        self._clock = clock

    async def run(self, *, sessions: int, first: float, cap: float) -> None:
        """Keep so many sessions open until cancelled, calling again with full jitter after each cut."""
        async with asyncio.TaskGroup() as group:
            for number in range(sessions):
                backoff = Backoff(random.SystemRandom().random, first=first, cap=cap)
                group.create_task(self._keep(f"data session {number + 1}", group, backoff))

    async def _keep(self, name: str, group: asyncio.TaskGroup, backoff: Backoff) -> None:
        worked_since: float | None = None
        turned_over: list[_Place] = []

        async def once() -> None:
            nonlocal worked_since
            while True:
                worked_since = None
                await self._streams.ready.wait()
                place = _Place(self._turnover.number, turned_over.copy())
                group.create_task(self._session(place), name=name)
                try:
                    why = await place.left
                finally:
                    worked_since = place.worked_since
                if not isinstance(why, CertificateTurnedOverError | SessionWornError):
                    raise why
                turned_over[:] = [one for one in turned_over if not one.followed.is_set()] + [place]

        await supervise.keep_running(name, once, clock=self._clock, backoff=backoff, worked_since=lambda: worked_since)

    async def _session(self, place: _Place) -> None:
        """Open a session, say when its place is free again, and see it to its end; raises nothing."""
        name = str(uuid4())
        try:
            async with self._dialled(name) as session:
                place.worked_since = self._clock.monotonic()
                log.info("data session open", session=name)
                for one in place.before:
                    one.followed.set()
                await self._used(place, session)
        except Exception as error:  # noqa: BLE001 - it is handed to who keeps the place, and logged there
            if not place.left.done():
                place.left.set_exception(error)
        log.info("data session over", session=name)

    async def _used(self, place: _Place, session: Session) -> None:
        """See a session that is open to its end."""
        until = self._until()
        turned = self._turnover.after(place.turned)
        first = await supervise.first_of(session.going_away.wait(), turned, session.worn.wait())
        if first > 0:
            place.left.set_result(CertificateTurnedOverError() if first == 1 else SessionWornError())
            if await supervise.first_of(session.going_away.wait(), place.followed.wait()) == 1:
                await session.drain(within=max(LEAVE_LIMIT, until - self._clock.monotonic()))
                return
        over = await _over(session)
        if not place.left.done():
            place.left.set_result(over or ConsoleGoesAwayError())
        if over is None:
            await session.drain(within=LEAVE_LIMIT)

    def _until(self) -> float:
        """Return when the certificate in use ends, in seconds of the monotonic clock."""
        now = self._streams.time.now()
        left = 0.0 if now is None else (self._identity.certificate().not_valid_after_utc - now).total_seconds()
        return self._clock.monotonic() + left

    @asynccontextmanager
    async def _dialled(self, name: str) -> AsyncIterator[Session]:
        known = await asyncio.to_thread(self._identity.member)
        url = address(known.tunnel, session=name, latch=self._streams.latch)
        async with AsyncExitStack() as stack:
            with self._outward.noting() as road:
                calling = dial_data(url, tls=self._identity.tls(), road=road, on_stream=self._streams.taker(name))
                session = await stack.enter_async_context(calling)
            tls.judge_dates(session.peer_certificate, floor=known.told)
            yield session


def address(tunnel: str, *, session: str, latch: str | None = None) -> str:
    """Return the URL at which a data session of that id is opened, by an appliance that was told that latch, if any."""
    where, said = urlsplit(tunnel), {SESSION_PARAMETER: session} | ({LATCH_PARAMETER: latch} if latch else {})
    return urlunsplit(where._replace(path=where.path or "/", query=urlencode(said)))


async def _over(session: Session) -> GatewayError | None:
    """Return why a session is over, with the pause that the console asks for, or None while it is not."""
    try:
        async with asyncio.timeout(0):
            why = await session.closed()
    except TimeoutError:
        return None
    wait = retry_after_close(why.message)
    return why if wait is None else ConsoleGoesAwayError(why.message, retry_after=wait)
