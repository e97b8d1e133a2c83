"""This file is the console's half of the command channel: commands out, answers and events in.

::

    certificate -> gateway ──┬─ hello ─ welcome ─┬─ deliver …   (woken by a bell, a few at a time, in order)
                  refused ───┘                   ├─ answers …   (accepted, rejected), offers
                                                 ├─ report ─ projected and stored in one transaction ─ acknowledge
                                                 └─ last seen, now and then

A session replaces the older one of its gateway once it was greeted, and not before: a caller that says nothing, or is
refused, takes nobody's place but that of another who was not greeted yet. Everything a session does is idempotent, so
that two that overlap for a moment, or one after a crash, change nothing twice.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog
from pydantic import ValidationError
from pydantic_core import from_json

from gateway.console import hygiene, intake
from gateway.console.admission import SessionRefusedError, gateway_behind
from gateway.console.bells import Bells, rung
from gateway.console.records import Gateway, StoredCommand
from gateway.console.store import commands, gateways
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from gateway.contract.messages import (
    Accepted,
    Acknowledge,
    Deliver,
    FromAppliance,
    FromConsole,
    Hello,
    Offers,
    Rejected,
    ReportEvents,
    Welcome,
    from_appliance,
)
from gateway.contract.problems import problem_of
from gateway.contract.version import OFFERS_SINCE, OLDEST_SPOKEN, PROTOCOL
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError
from gateway.tunnel.channel import ChannelClosedError

HELLO_LIMIT = 20.0
ANSWER_LIMIT = 60.0
NOTED_EVERY = 15.0
IN_FLIGHT = 16
REFUSED = 4000
REPLACED = 4001
BROKEN = 4002
TRY_LATER = 1013

log = structlog.get_logger(__name__)


class ProtocolTooOldError(SessionRefusedError):
    """The appliance speaks only versions of the protocol that this console no longer does."""

    code = "relay.protocol_too_old"


class RolledBackError(SessionRefusedError):
    """The appliance counts events from before where it was: it was put back to an older state."""

    code = "relay.rolled_back"


class PeerBrokeProtocolError(GatewayError):
    """The appliance said something that has no place there."""

    code = "relay.protocol_broken"


class Channel(Protocol):
    """What the relay needs of a tunnel's channel."""

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

    async def close(self, *, code: int = 1000, reason: str = "") -> None:
        """Close; safe to call twice."""


class Relay:
    """The far end of every tunnel."""

    def __init__(self, store: Store, bells: Bells, *, grant_key: str, clock: Clock) -> None:
        self._store = store
        self._grant_key = grant_key
        self._bells = bells
        self._clock = clock
        self._greeting: dict[UUID, Channel] = {}
        self._greeted: dict[UUID, Channel] = {}

    async def serve(self, channel: Channel) -> None:
        """Serve one channel until it ends; never raises for what a peer does."""
        try:
            gateway = await gateway_behind(self._store, channel.peer_certificate)
            with structlog.contextvars.bound_contextvars(gateway=gateway.name):
                await self._served(gateway, channel)
        except ChannelClosedError as fault:
            log.info("tunnel closed", reason=fault.message)
        except SessionRefusedError as fault:
            log.warning("tunnel refused", address=channel.peer_address, code=fault.code, reason=fault.message)
            await channel.close(code=REFUSED, reason=_short(fault))
        except PeerBrokeProtocolError as fault:
            log.warning("tunnel broken off", code=fault.code, reason=fault.message)
            await channel.close(code=BROKEN, reason=_short(fault))
        except GatewayError as fault:
            log.warning("tunnel given up", code=fault.code, reason=fault.message)
            await channel.close(code=TRY_LATER, reason=_short(fault))

    async def _served(self, gateway: Gateway, channel: Channel) -> None:
        session = Session(self._store, self._bells, gateway, channel, self._grant_key, self._clock)
        async with _in_place(self._greeting, gateway.id, channel):
            greeting = await session.greeted()
        async with _in_place(self._greeted, gateway.id, channel):
            await session.run(greeting)


@asynccontextmanager
async def _in_place(places: dict[UUID, Channel], gateway: UUID, channel: Channel) -> AsyncIterator[None]:
    """Hold a gateway's only place while the body runs; whoever held it is closed."""
    older = places.get(gateway)
    places[gateway] = channel
    try:
        if older is not None:
            await older.close(code=REPLACED, reason="the same gateway has connected again")
        yield
    finally:
        if places.get(gateway) is channel:
            del places[gateway]


class Greeting(NamedTuple):
    """What was agreed on with a gateway that said hello: the protocol's version, and the last event that is known."""

    protocol: int
    acknowledged: int


@dataclass(slots=True)
class Session:
    """One connection of one gateway. `unanswered` are the commands delivered on it, and since when."""

    store: Store
    bells: Bells
    gateway: Gateway
    channel: Channel
    grant_key: str
    clock: Clock
    unanswered: dict[UUID, float] = field(default_factory=dict)

    async def run(self, greeting: Greeting) -> None:
        """Welcome the gateway, then deliver and receive until the channel ends."""
        await self._welcome(greeting)
        log.info("gateway connected", address=self.channel.peer_address)
        with self.bells.listening(self.gateway.id) as bell:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._deliver(bell), name="deliver")
                    group.create_task(self._receive(bell), name="receive")
                    group.create_task(self._stay_seen(), name="stay seen")
            except* GatewayError as several:
                raise several.exceptions[0] from None

    async def greeted(self) -> Greeting:
        """Hear the hello and take it in; nothing is said to it yet. Raises SessionRefusedError."""
        hello = await self._hello()
        try:
            protocol = _agreed(hello)
            gateway = await intake.greeted(self.store, self.gateway, hello, protocol=protocol, clock=self.clock)
        except intake.NumbersWentBackError as fault:
            refusal = RolledBackError(fault.message)
            await intake.refused(self.store, self.gateway, problem_of(refusal))
            raise refusal from fault
        except ProtocolTooOldError as fault:
            await intake.refused(self.store, self.gateway, problem_of(fault))
            raise
        return Greeting(protocol, gateway.acknowledged)

    async def _welcome(self, greeting: Greeting) -> None:
        key = self.grant_key if greeting.protocol >= OFFERS_SINCE else None
        await self._send(
            Welcome(
                protocol=greeting.protocol,
                server_time=self.clock.now(),
                acknowledged=greeting.acknowledged,
                grant_key=key,
            )
        )

    async def _hello(self) -> Hello:
        try:
            async with asyncio.timeout(HELLO_LIMIT):
                message = _parsed(await self.channel.receive())
        except TimeoutError as fault:
            raise PeerBrokeProtocolError(f"no hello within {HELLO_LIMIT:.0f} seconds") from fault
        if not isinstance(message, Hello):
            raise PeerBrokeProtocolError(f"the first message was {message.type}, not hello")
        return message

    async def _deliver(self, bell: asyncio.Event) -> None:
        while True:
            for stored in await self._next_commands():
                self.unanswered[stored.id] = self.clock.monotonic()
                command = stored.command.model_dump(mode="json")
                await self._send(Deliver(command_id=stored.id, command=command))
            await rung(bell, within=NOTED_EVERY)
            self._refuse_silence()

    async def _next_commands(self) -> list[StoredCommand]:
        room = IN_FLIGHT - len(self.unanswered)
        if room <= 0:
            return []
        # Most bells ring for nothing new: the one writer is not bothered before there is something.
        async with self.store.reading(Scope(self.gateway.tenant)) as rows:
            await gateways.there(rows, self.gateway.id)
            if not await commands.any_pending(rows, self.gateway.id, leaving_out=self.unanswered.keys()):
                return []
        async with self.store.writing(Scope(self.gateway.tenant)) as rows:
            await gateways.held(rows, self.gateway.id)
            found = await commands.pending(rows, self.gateway.id, leaving_out=self.unanswered.keys(), limit=room)
            await intake.give_up(rows, self.gateway, found.unreadable, now=self.clock.now())
            await commands.sent(rows, [one.id for one in found.readable], now=self.clock.now())
        return found.readable

    def _refuse_silence(self) -> None:
        oldest = min(self.unanswered.values(), default=None)
        if oldest is not None and self.clock.monotonic() - oldest > ANSWER_LIMIT:
            raise PeerBrokeProtocolError(f"a command was not answered within {ANSWER_LIMIT:.0f} seconds")

    async def _receive(self, bell: asyncio.Event) -> None:
        while True:
            message = _parsed(await self.channel.receive())
            match message:
                case Hello():
                    raise PeerBrokeProtocolError("a second hello")
                case ReportEvents():
                    number = await intake.reported(self.store, self.gateway, message.events, clock=self.clock)
                    await self._send(Acknowledge(number=number))
                case Accepted() | Rejected():
                    await intake.answered(self.store, self.gateway, message, clock=self.clock)
                    self.unanswered.pop(message.command_id, None)
                    bell.set()
                case Offers():
                    await intake.offered(self.store, self.gateway, message)
            self.bells.ring(self.gateway.tenant)

    async def _stay_seen(self) -> None:
        while True:
            await self.clock.sleep(NOTED_EVERY)
            async with self.store.writing(Scope(self.gateway.tenant)) as rows:
                found = await gateways.held(rows, self.gateway.id)
                await gateways.seen(rows, self.gateway.id, now=self.clock.now())
            if found.certificate_serial != self.gateway.certificate_serial:
                raise SessionRefusedError("the client certificate is no longer the gateway's current one")

    async def _send(self, message: FromConsole) -> None:
        await self.channel.send(message.model_dump_json())


def _agreed(hello: Hello) -> int:
    protocol = min(hello.protocol, PROTOCOL)
    if protocol < OLDEST_SPOKEN:
        raise ProtocolTooOldError(
            f"the appliance speaks protocol {hello.protocol} and the console {OLDEST_SPOKEN} or newer: "
            "update the appliance"
        )
    return protocol


def _parsed(text: str) -> FromAppliance:
    try:
        return from_appliance.validate_python(hygiene.cleaned(from_json(text)))
    except ValidationError as fault:
        kinds = ", ".join(sorted({f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in fault.errors()}))
        raise PeerBrokeProtocolError(f"a message cannot be understood ({kinds[:500]})") from None
    except ValueError:
        raise PeerBrokeProtocolError("a message cannot be understood: it is no JSON") from None


def _short(fault: GatewayError) -> str:
    # A close frame holds 123 bytes of reason (RFC 6455, 5.5).
    return f"{fault.code}: {fault.message}".encode()[:120].decode(errors="ignore")
