"""This file is where tunnel and journal meet: commands come in and are written down, events go out until known.

::

    deliver ---> journal.accept (fsync) ---> accepted          reader
    journal ---> outbox ---> report                            reporter
    acknowledge ---> journal.acknowledge                       reader
    accounts, targets ---> offers, when they have changed      offers
    the console's time does not hold ---> hang up, call again  time
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol
from uuid import UUID

import structlog
from pydantic import ValidationError

import gateway
from gateway.appliance.identity import Identity, Paired
from gateway.appliance.outward import Outward
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandChangedError
from gateway.commands.outbox import Outbox
from gateway.contract.commands import Command
from gateway.contract.messages import (
    MESSAGE_LIMIT,
    Accepted,
    Acknowledge,
    Deliver,
    FromAppliance,
    Hello,
    Offers,
    Rejected,
    ReportEvents,
    Welcome,
    from_console,
)
from gateway.contract.problems import Problem, problem_of
from gateway.contract.version import OFFERS_SINCE, OLDEST_SPOKEN, PROTOCOL
from gateway.kit import supervise
from gateway.kit.backoff import Backoff
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.channel import Channel
from gateway.tunnel.dialer import dial

log = structlog.get_logger(__name__)

WELCOME_LIMIT = 20.0
OFFER_EVERY = 5.0
"""Seconds after which is looked whether there is something else to offer."""


class ConversationError(GatewayError):
    """The console says something that cannot be understood."""

    code = "link.not_understood"


class JournalBehindError(GatewayError):
    """The console knows more of this appliance than the appliance itself."""

    code = "journal.behind"
    remedy = Remedy.OPERATOR


class NotUnderstoodError(GatewayError):
    """A command cannot be understood."""

    code = "command.not_understood"
    remedy = Remedy.DEVELOPER


class TimeStaleError(GatewayError):
    """The console's clock was set since it told its time: it is asked again."""

    code = "link.time_stale"
    remedy = Remedy.RETRY


class Welcomed(Protocol):
    """Who is told of a welcome; `asked` is when the hello was said, by the monotonic clock."""

    def __call__(self, welcome: Welcome, *, asked: float) -> None:
        """Take note of it."""


class Link:
    """The appliance's half of the command channel; `run` keeps it open."""

    def __init__(
        self,
        identity: Identity,
        paired: Paired,
        journal: Journal,
        *,
        clock: Clock,
        offers: Callable[[], Offers],
        welcomed: Welcomed,
        stale: asyncio.Event,
        outward: Outward,
    ) -> None:
        self._identity = identity
        self._outward = outward
        self._welcomed_at: float | None = None
        self._paired = paired
        self._journal = journal
        self._clock = clock
        self._offers = offers
        self._welcomed = welcomed
        self._stale = stale

    async def run(self, *, boot_id: UUID, first: float, cap: float) -> None:
        """Keep the channel open until cancelled, calling again with full jitter after each cut."""
        backoff = Backoff(random.SystemRandom().random, first=first, cap=cap)

        async def once() -> None:
            await self._once(boot_id)

        await supervise.keep_running(
            "link", once, clock=self._clock, backoff=backoff, worked_since=lambda: self._welcomed_at
        )

    async def _once(self, boot_id: UUID) -> None:
        self._welcomed_at = None
        async with self._dialled() as channel:
            offers = await asyncio.to_thread(self._offers)
            asked = self._clock.monotonic()
            welcome = await self._greet(channel, boot_id, offers)
            self._welcomed_at = self._clock.monotonic()
            self._welcomed(welcome, asked=asked)
            log.info("connected", console=self._paired.console, protocol=welcome.protocol)
            parts = {
                "reporter": self._report(channel, Outbox(self._journal, after=welcome.acknowledged)),
                "time": self._until_time_is_stale(),
            }
            if welcome.protocol >= OFFERS_SINCE:
                parts["offers"] = self._offer(channel, offers)
            async with supervise.running(**parts):
                while True:
                    await self._take(channel, await channel.receive())

    @asynccontextmanager
    async def _dialled(self) -> AsyncIterator[Channel]:
        async with AsyncExitStack() as stack:
            with self._outward.noting() as road:
                calling = dial(self._paired.tunnel, tls=self._identity.tls(), road=road, message_limit=MESSAGE_LIMIT)
                channel = await stack.enter_async_context(calling)
            yield channel

    async def _greet(self, channel: Channel, boot_id: UUID, offers: Offers) -> Welcome:
        hello = Hello(
            protocol=PROTOCOL,
            software=gateway.__version__,
            boot_id=boot_id,
            accounts=offers.accounts,
            targets=offers.targets,
            next_event=self._journal.last_event + 1,
        )
        await _say(channel, hello)
        try:
            async with asyncio.timeout(WELCOME_LIMIT):
                welcome = from_console.validate_json(await channel.receive())
        except (ValidationError, TimeoutError) as fault:
            raise ConversationError("whoever answers does not welcome an appliance: is it a console?") from fault
        if not isinstance(welcome, Welcome) or not OLDEST_SPOKEN <= welcome.protocol <= PROTOCOL:
            raise ConversationError(
                "the console speaks no protocol version that this appliance speaks: upgrade the older"
            )
        if welcome.acknowledged > self._journal.last_event:
            raise JournalBehindError(
                f"the console has event {welcome.acknowledged}, this appliance's journal ends at "
                f"{self._journal.last_event}: its disk was restored from an older copy; restore a newer one"
            )
        await self._journal.acknowledge(welcome.acknowledged)
        return welcome

    async def _take(self, channel: Channel, text: str) -> None:
        try:
            message = from_console.validate_json(text)
        except ValidationError as fault:
            raise ConversationError("the console said something that is not in the protocol") from fault
        match message:
            case Deliver():
                await _say(channel, await self._accept(message))
            case Acknowledge(number=number):
                await self._journal.acknowledge(number)
            case Welcome():
                raise ConversationError("the console welcomed this appliance twice")

    async def _accept(self, message: Deliver) -> Accepted | Rejected:
        """Write the command down; what is answered is on the disk."""
        try:
            command = Command.model_validate(message.command)
            await self._journal.accept(command)
        except ValidationError as fault:
            return Rejected(command_id=message.command_id, problem=_not_understood(fault))
        except CommandChangedError as error:
            return Rejected(command_id=message.command_id, problem=problem_of(error))
        log.info("command accepted", command=str(command.id), kind=command.task.kind)
        return Accepted(command_id=command.id)

    async def _report(self, channel: Channel, outbox: Outbox) -> None:
        while True:
            await _say(channel, ReportEvents(events=await outbox.next_batch()))

    async def _offer(self, channel: Channel, said: Offers) -> None:
        while True:
            await self._clock.sleep(OFFER_EVERY)
            found = await asyncio.to_thread(self._offers)
            if found != said:
                await _say(channel, found)
                said = found

    async def _until_time_is_stale(self) -> None:
        """Hang up when the console's time is needed again: it is told in answer to a hello only."""
        await self._stale.wait()
        raise TimeStaleError


async def _say(channel: Channel, message: FromAppliance) -> None:
    await channel.send(message.model_dump_json())


def _not_understood(fault: ValidationError) -> Problem:
    first = fault.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    error = NotUnderstoodError(
        f"the appliance does not understand the command ({where}: {first['msg']}): upgrade the appliance"
    )
    return problem_of(error)
