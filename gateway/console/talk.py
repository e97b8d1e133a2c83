"""This file is one connection of one gateway on the command channel, from its hello to its end.

::

    hello ─ judged ─ welcome ─┬─ deliver …      (woken by a bell, a few at a time, in order; to an active gateway only)
                              ├─ answers …      (accepted, rejected), offers, renewals, what it keeps
                              ├─ report ─ projected and stored in one transaction ─ acknowledge
                              ├─ trust          (when whom to trust has changed), sealed accounts (when they have)
                              ├─ still welcome? (revoked, quarantined, paired anew, its certificate over: cut)
                              └─ last seen, now and then
"""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog

from gateway.console import halting, hearing, intake
from gateway.console.admission import RECHECK, Admitted, Entrance, SessionRefusedError
from gateway.console.bells import Bells, rung
from gateway.console.hearing import PeerBrokeProtocolError, ProtocolTooOldError
from gateway.console.intake import Heard
from gateway.console.lane import ANSWER_LIMIT, Lane
from gateway.console.latches import Latches
from gateway.console.policies import Policies, Told
from gateway.console.records import Gateway, Standing, StoredCommand
from gateway.console.renewal import Renewal
from gateway.console.signing import Keys, Signer
from gateway.console.store import commands, gateways, standing
from gateway.console.store.database import Store, StoreUnavailableError
from gateway.console.store.scope import Scope
from gateway.contract.accounts import Resealed, SealedAccounts
from gateway.contract.identity import Renew, RenewalRefused, Renewed
from gateway.contract.messages import (
    Accepted,
    Acknowledge,
    Deferred,
    FromAppliance,
    FromConsole,
    Hello,
    Leaving,
    Offers,
    Rejected,
    ReportEvents,
    Trust,
    TrustKept,
    Welcome,
)
from gateway.contract.problems import Problem, problem_of
from gateway.contract.signing import LaneResumed
from gateway.contract.trust import Grounds, TrustBundle
from gateway.contract.version import IDENTITY_SINCE, OFFERS_SINCE
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

HELLO_LIMIT = 20.0
NOTED_EVERY = 15.0

log = structlog.get_logger(__name__)


class RolledBackError(SessionRefusedError):
    """The appliance counts events from before where it was: it was put back to an older state."""

    code = "relay.rolled_back"


class Channel(Protocol):
    """What the console needs of a tunnel's channel."""

    @property
    def peer_certificate(self) -> bytes:
        """The peer's verified certificate in DER."""

    @property
    def peer_address(self) -> str:
        """Where the peer calls from."""

    async def send(self, text: str) -> None:
        """Send one message. Raises ChannelClosedError."""

    async def receive(self) -> str:
        """Wait for the next message. Raises ChannelClosedError."""

    async def answers(self, *, within: float) -> bool:
        """Ask the peer for a sign of life; tell whether one comes within so many seconds."""

    async def close(self, *, code: int = 1000, reason: str = "") -> None:
        """Close; safe to call twice."""


class Trusted(Protocol):
    """Whom appliances are to trust."""

    @property
    def trust(self) -> TrustBundle:
        """The bundle as it is now."""

    @property
    def grounds(self) -> Grounds:
        """On what it may be believed."""

    async def newer_than(self, version: int) -> TrustBundle:
        """Wait until there is a bundle of a higher version than that, and return it."""


class SealedDesk(Protocol):
    """Who keeps sealed cloud accounts: each hears of one gateway, and answers for it alone."""

    async def greeted(self, gateway: Gateway, hello: Hello) -> None:
        """Take in the sealing key that a gateway says hello with, if any. Raises GatewayError: it is then cut."""

    async def resealed(self, gateway: Gateway, message: Resealed) -> None:
        """Take in a new sealing key and what was sealed anew to it. Raises GatewayError: it is then cut."""

    async def news(self, gateway: Gateway, told: SealedAccounts | None) -> SealedAccounts | None:
        """Return what the gateway is to be told, after `told` was the last on this connection; None for nothing new.

        Asked at each ring of the gateway's bell and every few seconds.
        """


@dataclass(frozen=True, slots=True)
class Desk:
    """What every connection works with."""

    store: Store
    bells: Bells
    entrance: Entrance
    renewal: Renewal
    trusted: Trusted
    grant_key: str
    clock: Clock
    policies: Policies
    latches: Latches
    keys: Keys
    accounts: SealedDesk | None = None


class Greeting(NamedTuple):
    """What was agreed on with a gateway that said hello."""

    hello: Hello
    protocol: int
    heard: Heard


@dataclass(slots=True)
class Talk:
    """One connection of one gateway. `told_why`: it is shown with the reason for which it defers commands.

    `had` is the last event that was once on disk here, as the gateway says: this console may have been put back since.
    """

    desk: Desk
    admitted: Admitted
    channel: Channel
    lane: Lane = field(default_factory=Lane)
    told_why: bool = False
    told: SealedAccounts | None = None
    told_of_policy: Told = field(default_factory=Told)
    told_of_halt: UUID | None = None
    had: int = 0

    @property
    def gateway(self) -> Gateway:
        """The gateway as it was when it came in."""
        return self.admitted.gateway

    @property
    def scope(self) -> Scope:
        """Whose rows the gateway's are."""
        return Scope(self.gateway.tenant)

    async def hello(self) -> Hello:
        """Wait for the hello. Raises PeerBrokeProtocolError."""
        try:
            async with asyncio.timeout(HELLO_LIMIT):
                message = hearing.parsed(await self.channel.receive())
        except TimeoutError as fault:
            raise PeerBrokeProtocolError(f"no hello within {HELLO_LIMIT:.0f} seconds") from fault
        if isinstance(message, Leaving):
            await intake.left(self.desk.store, self.gateway, message, self.channel.peer_address, clock=self.desk.clock)
        if not isinstance(message, Hello):
            raise PeerBrokeProtocolError(f"the first message was {message.type}, not hello")
        return message

    async def greeted(self, hello: Hello) -> Greeting:
        """Take the hello in; nothing is said to it yet. Raises SessionRefusedError."""
        store, clock = self.desk.store, self.desk.clock
        try:
            protocol = hearing.agreed(hello)
            heard = await intake.greeted(store, self.gateway, hello, protocol=protocol, clock=clock)
        except intake.NumbersWentBackError as fault:
            refusal = RolledBackError(fault.message)
            await intake.refused(store, self.gateway, problem_of(refusal))
            raise refusal from fault
        except ProtocolTooOldError as fault:
            await intake.refused(store, self.gateway, problem_of(fault))
            raise
        if self.desk.accounts is not None and protocol >= IDENTITY_SINCE:
            await self.desk.accounts.greeted(self.gateway, hello)
        await self.desk.policies.heard(self.gateway, hello.policy)
        return Greeting(hello, protocol, heard)

    async def run(self, greeting: Greeting) -> None:
        """Welcome the gateway, then deliver and receive until the channel ends."""
        self.had = greeting.hello.acknowledged
        signer = Signer(self.desk.keys, self.gateway.id, greeting.protocol, greeting.hello.command_key)
        await self._welcome(greeting, signer)
        log.info("gateway connected", address=self.channel.peer_address)
        with self.desk.bells.listening(self.gateway.id) as bell, self.desk.bells.listening(self.gateway.id) as alarm:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._deliver(bell, signer), name="deliver")
                    group.create_task(self._receive(bell), name="receive")
                    group.create_task(self._stay_seen(greeting.hello), name="stay seen")
                    group.create_task(self._stay_welcome(alarm), name="stay welcome")
                    if greeting.protocol >= IDENTITY_SINCE:
                        group.create_task(self._spread_trust(), name="spread trust")
            except* GatewayError as several:
                raise several.exceptions[0] from None

    async def _welcome(self, greeting: Greeting, signer: Signer) -> None:
        bundle = self.desk.trusted.trust
        # Of a higher version than ours it is not ours either: it comes from somebody who has claimed to be us.
        is_other = greeting.protocol >= IDENTITY_SINCE and bundle.version != greeting.hello.trust_version
        heard = greeting.heard
        await self._send(
            Welcome(
                protocol=greeting.protocol,
                server_time=self.desk.clock.now(),
                acknowledged=heard.acknowledged,
                grant_key=self.desk.grant_key if greeting.protocol >= OFFERS_SINCE else None,
                latch=self.desk.latches.fit(self.gateway.id, greeting.hello.boot_id, protocol=greeting.protocol),
                epoch=heard.epoch,
                ended_commands=list(heard.ended_commands),
                trust=bundle if is_other else None,
                grounds=self.desk.trusted.grounds if is_other else Grounds(),
                command_keys=signer.news(),
                last_seq=heard.last_seq if signer.protocol >= IDENTITY_SINCE else None,
                unknown_commands=list(heard.unknown_commands),
            )
        )
        if greeting.hello.last_seq > heard.last_seq and signer.protocol >= IDENTITY_SINCE:
            async with self.desk.store.writing(self.scope) as rows:  # not before it could be told: it is a sign
                await gateways.raise_seq(rows, self.gateway.id, greeting.hello.last_seq)

    async def _deliver(self, bell: asyncio.Event, signer: Signer) -> None:
        while True:
            if signer.protocol >= IDENTITY_SINCE:
                # Before the commands: one of them may be the first that needs an account.
                await self._tell_accounts()
                await self._tell_policy()
                await self._tell_of_lane(signer)
            for stored in await self._next_commands():
                await self._send(signer.delivery(stored))
            await rung(bell, within=NOTED_EVERY)
            if self.lane.is_silent(self.desk.clock.monotonic()):
                raise PeerBrokeProtocolError(f"a command was not answered within {ANSWER_LIMIT:.0f} seconds")

    async def _tell_accounts(self) -> None:
        if self.desk.accounts is None:
            return
        news = await self.desk.accounts.news(self.gateway, self.told)
        if news is not None:
            await self._send(news)
            self.told = news

    async def _tell_of_lane(self, signer: Signer) -> None:
        if (keys := await signer.look()) is not None:
            await self._send(keys)
        async with self.desk.store.reading(self.scope) as rows:
            halt = await halting.seen_to(rows, self.gateway.id)
        if halt not in {None, self.told_of_halt}:
            await self._send(LaneResumed(halt=halt))
            self.told_of_halt = halt

    async def _tell_policy(self) -> None:
        news = await self.desk.policies.news(self.gateway, self.told_of_policy)
        for message in news.messages:
            await self._send(message)
        self.told_of_policy = news.told

    async def _next_commands(self) -> list[StoredCommand]:
        # Most bells ring for nothing new: the one writer is not bothered before there is something.
        async with self.desk.store.reading(self.scope) as rows:
            found = await gateways.by_id(rows, self.gateway.id)
            waiting = await commands.waiting(rows, self.gateway.id)
            if not waiting or found.standing is not Standing.ACTIVE:
                return []
            unfinished = await commands.unfinished(rows, self.gateway.id)
        chosen = self.lane.next(waiting, unfinished=unfinished, now=self.desk.clock.monotonic())
        taken = await self._taken(chosen) if chosen else []
        for one in set(chosen) - {stored.id for stored in taken}:
            self.lane.answered(one)
        return sorted(taken, key=lambda stored: chosen.index(stored.id))

    async def _taken(self, chosen: list[UUID]) -> list[StoredCommand]:
        now = self.desk.clock.now()
        async with self.desk.store.writing(self.scope) as rows:
            held = await intake.held(rows, self.gateway)
            if held.standing is not Standing.ACTIVE:
                return []
            found = await commands.pending(rows, held.id, among=chosen)
            await intake.give_up(rows, held, found.unreadable, now=now)
            await commands.sent(rows, [one.id for one in found.readable], now=now)
        return found.readable

    async def _receive(self, bell: asyncio.Event) -> None:
        while True:
            message = hearing.parsed(await self.channel.receive())
            if isinstance(message, Accepted | Rejected):
                await intake.answered(self.desk.store, self.gateway, message, clock=self.desk.clock)
                self.lane.answered(message.command_id)
                await self._tell_why(None)
                bell.set()
            elif isinstance(message, Deferred):
                self.lane.deferred(message.command_id, now=self.desk.clock.monotonic())
                await self._tell_why(message.problem)
            else:
                await self._taken_in(message)
            self.desk.bells.ring(self.gateway.tenant)

    async def _tell_why(self, problem: Problem | None) -> None:
        """Show with the gateway why it takes no commands, as long as it takes none."""
        if problem is None and not self.told_why:
            return
        await intake.refused(self.desk.store, self.gateway, problem)
        self.told_why = problem is not None

    async def _taken_in(self, message: FromAppliance) -> None:
        store = self.desk.store
        match message:
            case Hello() | Leaving():
                raise PeerBrokeProtocolError("a second hello")
            case ReportEvents():
                number = await intake.reported(store, self.gateway, message.events, had=self.had, clock=self.desk.clock)
                await self._send(Acknowledge(number=number))
            case Offers():
                await intake.offered(store, self.gateway, message, clock=self.desk.clock)
                await self.desk.policies.heard(self.gateway, message.policy)
            case Renew():
                await self._renew(message)
            case TrustKept():
                await intake.trusts(store, self.gateway, message.version)
            case Resealed():
                if self.desk.accounts is not None:
                    await self.desk.accounts.resealed(self.gateway, message)

    async def _renew(self, message: Renew) -> None:
        try:
            granted = await self.desk.renewal.renewed(self.gateway, message, address=self.channel.peer_address)
        except GatewayError as fault:
            log.warning("renewal refused", code=fault.code, reason=fault.message)
            await self._send(RenewalRefused(problem=problem_of(fault)))
            # It may be shut out now: every connection of it looks.
            self.desk.bells.ring(self.gateway.id)
        else:
            await self._send(Renewed(granted=granted))

    async def _spread_trust(self) -> None:
        known = self.desk.trusted.trust.version
        while True:
            bundle = await self.desk.trusted.newer_than(known)
            await self._send(Trust(trust=bundle, grounds=self.desk.trusted.grounds))
            known = bundle.version

    async def _stay_welcome(self, alarm: asyncio.Event) -> None:
        while True:
            has_rung = await rung(alarm, within=RECHECK)
            try:
                await self.desk.entrance.still_welcome(self.admitted, at_once=has_rung)
            except StoreUnavailableError as fault:
                # Nobody is let in meanwhile, and nothing is delivered; cut, all would call at once.
                log.warning("gateway could not be looked at", code=fault.code)

    async def _stay_seen(self, hello: Hello) -> None:
        while True:
            await self.desk.clock.sleep(NOTED_EVERY)
            async with self.desk.store.writing(self.scope) as rows:
                found = await intake.held(rows, self.gateway)
                await gateways.seen(rows, found.id, now=self.desk.clock.now())
                if found.system_uuid is None and hello.hardware.system_uuid is not None:
                    # A person has taken the new machine for the right one.
                    await standing.runs_on(rows, found.id, hello.hardware.system_uuid)

    async def _send(self, message: FromConsole) -> None:
        await self.channel.send(message.model_dump_json())
