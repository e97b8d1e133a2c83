"""This file is where tunnel and journal meet: commands come in and are written down, events go out until known.

::

    deliver ---> lane ---> gate ---> inbox (fsync) ---> accepted reader
    journal ---> outbox ---> report                            reporter
    acknowledge ---> journal.acknowledge                       reader
    accounts, targets ---> offers, when they have changed      offers
    certificate half over ---> renew, renewed                  renewal
    trust ---> identity (fsync) ---> trust kept                reader
    accounts ---> sealed (fsync) ---> resealed, if they were   reader
    the console's time does not hold ---> hang up, call again  time
    another certificate ---> the next call, then hang up       turnover
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from pydantic import ValidationError

from gateway.appliance.consoletime import ConsoleTime
from gateway.appliance.greeting import ConversationError, Greeter, say
from gateway.appliance.lane import Lane
from gateway.appliance.outward import Outward
from gateway.appliance.policy.gate import Gate
from gateway.appliance.recovering import Recovery
from gateway.appliance.renewal import Renewal, Turnover
from gateway.appliance.sealed import Sealed
from gateway.commands.inbox import Inbox
from gateway.commands.outbox import Outbox
from gateway.contract.accounts import SealedAccounts
from gateway.contract.identity import RenewalRefused, Renewed
from gateway.contract.messages import (
    MESSAGE_LIMIT,
    Acknowledge,
    Deliver,
    Offers,
    ReportEvents,
    Trust,
    TrustKept,
    Welcome,
    from_console,
)
from gateway.contract.policy import PolicyProposed, PolicyTightened
from gateway.contract.signing import CommandKeys, LaneResumed
from gateway.contract.trust import Grounds, TrustBundle
from gateway.contract.version import IDENTITY_SINCE, OFFERS_SINCE
from gateway.identity import tls
from gateway.kit import supervise
from gateway.kit.backoff import Backoff
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.kit.strictjson import NotStrictJsonError, parse_strict_json
from gateway.tunnel.channel import Channel
from gateway.tunnel.dialer import dial

log = structlog.get_logger(__name__)

OFFER_EVERY = 5.0
"""Seconds after which is looked whether there is something else to offer."""

DEPTH = 24
"""Objects and lists that may be open at once in a message: more than any has."""


class TimeStaleError(GatewayError):
    """The console's clock was set since it told its time: it is asked again."""

    code = "link.time_stale"
    remedy = Remedy.RETRY


class Welcomed(Protocol):
    """Who is told of a welcome; `asked` is when the hello was said, by the monotonic clock."""

    def __call__(self, welcome: Welcome, *, asked: float) -> None:
        """Take note of it."""


@dataclass(slots=True)
class _Call:
    """One call; `left` is done when the next is to be made, with the fault if there was one."""

    turned: int
    left: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(slots=True)
class Link:
    """The appliance's half of the command channel; `run` keeps it open."""

    greeter: Greeter
    clock: Clock
    offers: Callable[[], Offers]
    welcomed: Welcomed
    time: ConsoleTime
    outward: Outward
    turnover: Turnover
    recovery: Recovery
    sealed: Sealed
    gate: Gate
    lane: Lane
    greeted: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set once the console has welcomed the appliance for the first time since its start."""
    _welcomed_at: float | None = field(default=None, init=False)
    _calls: "list[asyncio.Task[None]]" = field(default_factory=list, init=False)

    async def run(self, *, first: float, cap: float) -> None:
        """Keep the channel open until cancelled, calling again with full jitter after each cut."""
        backoff = Backoff(random.SystemRandom().random, first=first, cap=cap)
        async with asyncio.TaskGroup() as group:

            async def calls() -> None:
                await self._call_and_call(group)

            await supervise.keep_running(
                "link", calls, clock=self.clock, backoff=backoff, worked_since=lambda: self._welcomed_at
            )

    async def _call_and_call(self, group: asyncio.TaskGroup) -> None:
        """Call, and call anew at once when there is another certificate, until a call fails."""
        while True:
            self._welcomed_at = None
            call = _Call(self.turnover.number)
            self._calls.append(group.create_task(self._called(call), name="call"))
            try:
                await call.left
            except GatewayError as fault:
                if not await self.recovery.after(fault):
                    raise
                self.outward.trusting(self.greeter.identity.trust())

    async def _called(self, call: _Call) -> None:
        """Make one call and see it to its end; raises nothing."""
        try:
            await self._converse(call)
        except Exception as error:  # noqa: BLE001 - it is handed to who makes the calls, and logged there
            if not call.left.done():
                call.left.set_exception(error)
        finally:
            self._calls = [one for one in self._calls if one is not asyncio.current_task()]

    def _vouch(self) -> None:
        self.sealed.vouch(self.greeter.identity.device())

    async def _converse(self, call: _Call) -> None:
        async with self._dialled() as channel:
            offers = await asyncio.to_thread(self.offers)
            await asyncio.to_thread(self._vouch)
            asked = self.clock.monotonic()
            last_seq = await asyncio.to_thread(self.lane.last_seq)
            welcome = await self.greeter.greet(
                channel, offers, sealing_key=self.sealed.sealing_key(), last_seq=last_seq
            )
            self._leave_others()
            self._welcomed_at = self.clock.monotonic()
            self.welcomed(welcome, asked=asked)
            await self.lane.welcomed(welcome)
            self.recovery.worked()
            self.greeted.set()
            log.info("connected", protocol=welcome.protocol)
            await _Conversation(self, channel, call).held(welcome, offers)

    @asynccontextmanager
    async def _dialled(self) -> AsyncIterator[Channel]:
        known = await asyncio.to_thread(self.greeter.identity.member)
        async with AsyncExitStack() as stack:
            with self.outward.noting() as road:
                calling = dial(known.tunnel, tls=self.greeter.identity.tls(), road=road, message_limit=MESSAGE_LIMIT)
                channel = await stack.enter_async_context(calling)
            tls.judge_dates(channel.peer_certificate, floor=known.told)
            yield channel

    def _leave_others(self) -> None:
        """Hang up on the calls before this one: they were kept until this one was welcomed."""
        for one in self._calls:
            if one is not asyncio.current_task():
                one.cancel()


@dataclass(slots=True)
class _Conversation:
    """What is said in one call after the greeting."""

    link: Link
    channel: Channel
    call: _Call
    renewal: Renewal = field(init=False)
    inbox: Inbox = field(init=False)

    def __post_init__(self) -> None:
        link = self.link
        self.renewal = Renewal(link.greeter.identity, link.time, link.turnover, clock=link.clock)

    async def held(self, welcome: Welcome, offers: Offers) -> None:
        """Talk until something ends it, which is raised."""
        self.inbox = Inbox(self.link.greeter.journal, welcome.protocol)
        parts = {
            "reporter": self._report(
                Outbox(self.link.greeter.journal, after=welcome.acknowledged, protocol=welcome.protocol)
            ),
            "time": self._until_time_is_stale(),
            "turnover": self._until_turned_over(),
        }
        if welcome.protocol >= OFFERS_SINCE:
            parts["offers"] = self._offer(offers)
        if welcome.protocol >= IDENTITY_SINCE:
            parts["renewal"] = self.renewal.run(lambda renew: say(self.channel, renew))
            if welcome.trust is not None:
                await self._trust(welcome.trust, welcome.grounds)
        async with supervise.running(**parts):
            while True:
                await self._take(await self.channel.receive())

    async def _take(self, text: str) -> None:
        try:
            parse_strict_json(text.encode(), limit=MESSAGE_LIMIT, depth=DEPTH)
            message = from_console.validate_json(text)
        except (ValidationError, NotStrictJsonError, UnicodeEncodeError) as fault:
            raise ConversationError("the console said something that is not in the protocol") from fault
        match message:
            case Deliver():
                await self._deliver(message)
            case Acknowledge(number=number):
                await self.link.greeter.journal.acknowledge(number)
            case Renewed() | RenewalRefused():
                self.renewal.answered(message)
            case Trust(trust=bundle, grounds=grounds):
                await self._trust(bundle, grounds)
            case SealedAccounts():
                await self._accounts(message)
            case PolicyProposed() | PolicyTightened():
                await self.link.gate.heard(message)
            case CommandKeys() | LaneResumed():
                await self.link.lane.heard(message)
            case Welcome():
                raise ConversationError("the console welcomed this appliance twice")

    async def _trust(self, bundle: TrustBundle, grounds: Grounds) -> None:
        """Keep whom to trust as the console, if that may be believed; what is said is on the disk."""
        shown = ssl.DER_cert_to_PEM_cert(self.channel.peer_certificate)
        known = await asyncio.to_thread(self.link.greeter.identity.trusting, bundle, grounds=grounds, shown=shown)
        self.link.outward.trusting(known.roots)
        await say(self.channel, TrustKept(version=known.trust.version))
        if known.trust == bundle:
            log.info("trust kept", version=known.trust.version, roots=len(known.trust.roots))
        else:
            log.warning("another trust was not kept", said=bundle.version, version=known.trust.version)

    async def _deliver(self, message: Deliver) -> None:
        answer = await self.link.lane.answer(message, self.inbox)
        if answer is not None:
            await say(self.channel, answer)

    async def _accounts(self, message: SealedAccounts) -> None:
        """Keep the sealed accounts; what is said is on the disk."""
        resealed = await self.link.sealed.take(message)
        if resealed is not None:
            await say(self.channel, resealed)

    async def _report(self, outbox: Outbox) -> None:
        while True:
            await say(self.channel, ReportEvents(events=await outbox.next_batch()))

    async def _offer(self, said: Offers) -> None:
        while True:
            await self.link.clock.sleep(OFFER_EVERY)
            found = await asyncio.to_thread(self.link.offers)
            if found != said:
                await say(self.channel, found)
                said = found

    async def _until_time_is_stale(self) -> None:
        """Hang up when the console's time is needed again: it is told in answer to a hello only."""
        await self.link.time.stale.wait()
        raise TimeStaleError

    async def _until_turned_over(self) -> None:
        """Let the next call be made once there is another certificate; this one is held until that is welcomed."""
        await self.link.turnover.after(self.call.turned)
        if not self.call.left.done():
            self.call.left.set_result(None)
        await asyncio.Event().wait()
