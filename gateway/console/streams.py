"""This file is how a stream to a target is opened: who may is checked, then it is audited, granted and asked for.

::

    visitor -> not too often? -> preamble understood?                     (no: told of now and then, not each time)
            -> gateway of the tenant? -> target offered? -> a session open? -> audit: began
            -> grant (this user, gateway, target, session; once, within seconds) -> asked for -> audit: refused
                                                                             -> joined -> audit: ended
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from gateway.console.errors import GatewayNotActiveError, TargetUnknownError
from gateway.console.records import Gateway, Standing
from gateway.console.sessions import DataSession, Sessions
from gateway.console.store import gateways
from gateway.console.store.database import Store
from gateway.console.store.finishing import finished
from gateway.console.trail import Trail, Visitor, turned_away
from gateway.console.turnstile import OpenedTooOftenError, Turnstile
from gateway.contract import streams as contract
from gateway.contract.problems import Problem, RelayedError
from gateway.contract.streams import StreamNotUnderstoodError, StreamPreamble, StreamReply, UserPreamble
from gateway.identity.grants import Grant, GrantKey
from gateway.kit import ids
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.frames import Reset
from gateway.tunnel.schedule import Lane
from gateway.tunnel.stream import Stream

GOOD_FOR = timedelta(seconds=30)
EARLY = timedelta(seconds=2)
"""What a grant begins before now: the appliance knows our time only to within the delay of a message."""
DIAL_LIMIT = 10.0
"""Seconds the appliance has to reach the target."""
ANSWER_LIMIT = DIAL_LIMIT + 5.0

log = structlog.get_logger(__name__)


class StreamRefusedByGatewayError(RelayedError):
    """The appliance refuses the stream."""

    code = "stream.refused"

    def __init__(self, reply: StreamReply) -> None:
        self.reply = reply
        message = reply.detail or "the appliance refuses the stream and does not say why: see its audit log"
        super().__init__(Problem(code=reply.code or self.code, message=message, remedy=reply.remedy or Remedy.OPERATOR))


class GaveUpError(GatewayError):
    """Whoever asked for the stream has gone before it was open."""

    code = "stream.given_up"
    remedy = Remedy.CALLER


@dataclass(slots=True)
class Onward:
    """A stream that reaches its target, and the appliance's reply. `fault` is why it did not end by itself."""

    stream: Stream
    reply: StreamReply
    lane: Lane
    fault: str | None = None
    said: int = field(init=False)
    heard: int = field(init=False)

    def __post_init__(self) -> None:
        # What was said until now was about the stream, and not through it.
        self.said, self.heard = self.stream.sent, self.stream.received


class Streams:
    """Opens streams to the targets of every tenant's gateways."""

    def __init__(self, store: Store, sessions: Sessions, key: GrantKey, *, clock: Clock) -> None:
        self.sessions = sessions
        self._store = store
        self._key = key
        self._clock = clock
        self._turnstile = Turnstile()

    @asynccontextmanager
    async def opened(self, visitor: Visitor, preamble: bytes) -> AsyncIterator[Onward]:
        """Open the stream that a user's preamble asks for while the body runs, and audit how it ends.

        Raises OpenedTooOftenError, StreamNotUnderstoodError, GatewayUnknownError, TargetUnknownError, GatewayAwayError,
        StreamRefusedByGatewayError, StoreUnavailableError or what the tunnel raises; then there is no stream.
        """
        wish = await self._let_in(visitor, preamble)
        trail = Trail(self._store, self._clock, visitor, wish, trace=ids.new_id(self._clock.now()))
        onward = await self._open(trail)
        since, reason = self._clock.now(), "cut off"
        try:
            yield onward
            reason = onward.fault or "both ends were done"
        finally:
            stream = onward.stream
            stream.reset(Reset.CANCELLED)
            sent, received = stream.sent - onward.said, stream.received - onward.heard
            await finished(trail.ended(reason, since=since, sent=sent, received=received))

    async def tell_the_rest(self, visitor: Visitor) -> None:
        """Write how many streams of a key were turned away of which nothing is written: its tunnel is over."""
        if untold := self._turnstile.untold(visitor.caller.key_id):
            fault = OpenedTooOftenError("the key opened more streams than it may, or such as nobody understood")
            await finished(turned_away(self._store, self._clock, visitor, fault=fault, untold=untold))

    async def _let_in(self, visitor: Visitor, preamble: bytes) -> UserPreamble:
        key, now = visitor.caller.key_id, self._clock.monotonic()
        try:
            self._turnstile.enter(key, now=now)
            return contract.read_user_preamble(preamble)
        except (OpenedTooOftenError, StreamNotUnderstoodError) as fault:
            untold = self._turnstile.turned_away(key, now=now)
            if untold is not None:
                said = preamble if isinstance(fault, StreamNotUnderstoodError) else b""
                await finished(turned_away(self._store, self._clock, visitor, fault=fault, said=said, untold=untold))
            raise

    async def _open(self, trail: Trail) -> Onward:
        try:
            gateway = await self._gateway(trail.visitor, trail.wish)
            session = self.sessions.choose(gateway)
            await finished(trail.began(session.id))
            return await self._asked(trail, session)
        except GatewayError as fault:
            await finished(trail.refused(fault))
            raise
        except asyncio.CancelledError:
            await finished(trail.refused(GaveUpError()))
            raise

    async def _gateway(self, visitor: Visitor, wish: UserPreamble) -> Gateway:
        # What is another tenant's is not there: the answer is the one for a name that nobody has.
        async with self._store.reading(visitor.scope) as rows:
            gateway = await gateways.named(rows, wish.gateway)
        if gateway.standing is not Standing.ACTIVE:
            raise GatewayNotActiveError(
                f"gateway {gateway.name!r} is {gateway.standing} and takes no streams: see what to do with "
                f"`pcg gateway show {gateway.name}`",
                gateway=gateway.name,
            )
        if wish.target not in {one.id for one in gateway.targets}:
            raise TargetUnknownError(
                f"gateway {gateway.name!r} offers no target {wish.target!r}: list them, or have it added on the "
                "appliance (pcg appliance target add)",
                gateway=gateway.name,
                target=wish.target,
            )
        return gateway

    async def _asked(self, trail: Trail, session: DataSession) -> Onward:
        preamble = StreamPreamble(
            target=trail.wish.target,
            lane=trail.wish.lane,
            trace=trail.trace,
            grant=self._key.sign(self._grant(trail, session)),
            deadline_ms=int(DIAL_LIMIT * 1000),
        )
        stream, said = await session.road.open(
            contract.write(preamble), lane=Lane(trail.wish.lane), within=ANSWER_LIMIT
        )
        try:
            reply = contract.read_reply(said)
            if reply.status == "refused":
                raise StreamRefusedByGatewayError(reply)
        except (StreamNotUnderstoodError, StreamRefusedByGatewayError):
            stream.reset(Reset.CANCELLED)
            raise
        return Onward(stream, reply, Lane(trail.wish.lane))

    def _grant(self, trail: Trail, session: DataSession) -> Grant:
        now = self._clock.now()
        caller = trail.visitor.caller
        return Grant(
            id=ids.new_id(now),
            user=caller.user,
            tenant=caller.tenant_name,
            gateway=session.gateway.id,
            target=trail.wish.target,
            session=str(session.id),
            not_before=now - EARLY,
            expires=now + GOOD_FOR,
        )


async def refuse_inbound(stream: Stream, _preamble: bytes) -> None:
    """Refuse a stream that an appliance opens: there is nothing at the console for it to reach."""
    stream.reset(Reset.REFUSED_POLICY)
