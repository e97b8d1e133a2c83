"""This file is a console that says what a test has it say, over the real tunnel, and an appliance paired with it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel, SecretStr

from gateway.appliance.audit import AuditLog
from gateway.appliance.consoletime import ConsoleTime
from gateway.appliance.greeting import Greeter, Self
from gateway.appliance.identity import Identity, Paired
from gateway.appliance.lane import Lane
from gateway.appliance.link import Link
from gateway.appliance.outward import Choice, FirstRoads, Outward, Way
from gateway.appliance.policy.gate import Gate
from gateway.appliance.policy.reading import of_profile
from gateway.appliance.recovering import Recovery
from gateway.appliance.renewal import Turnover
from gateway.appliance.sealed import Sealed
from gateway.commands.journal import Journal
from gateway.contract.commands import Command
from gateway.contract.events import Event
from gateway.contract.identity import Granted, Hardware, JoinState, Renew
from gateway.contract.messages import (
    MESSAGE_LIMIT,
    Accepted,
    Acknowledge,
    Deliver,
    Hello,
    Offers,
    Rejected,
    ReportEvents,
    TrustKept,
    Welcome,
    from_appliance,
)
from gateway.contract.pairing import PairingResult
from gateway.contract.policy import Profile
from gateway.contract.streams import OfferedTarget
from gateway.identity import keys, tls
from gateway.identity.authority import Authority
from gateway.kit import files, supervise
from gateway.tunnel.acceptor import Lobby, accepting
from gateway.tunnel.channel import Channel, ChannelClosedError
from gateway.tunnel.dataline import DataEnd
from gateway.tunnel.roads import Direct
from gateway.tunnel.session import Session
from tests.fakes.clock import HandClock
from tests.fakes.wishes import WHEN

M = TypeVar("M", Hello, Accepted, Rejected, ReportEvents, Offers, Renew, TrustKept)
PATIENCE = 10.0


@dataclass
class Talk:
    """One call of the appliance."""

    channel: Channel

    async def say(self, message: BaseModel) -> None:
        await self.channel.send(message.model_dump_json())

    async def hear(self, kind: type[M]) -> M:
        async with asyncio.timeout(PATIENCE):
            message = from_appliance.validate_json(await self.channel.receive())
        assert isinstance(message, kind), message
        return message

    async def welcome(self, *, acknowledged: int = 0, protocol: int = 1, **further: Any) -> Hello:  # noqa: ANN401
        """Listen to the greeting and answer it."""
        hello = await self.hear(Hello)
        said = {"server_time": WHEN, **further}
        await self.say(Welcome(protocol=protocol, acknowledged=acknowledged, **said))
        return hello

    async def deliver(self, command: Command) -> None:
        await self.say(Deliver(command_id=command.id, command=command.model_dump(mode="json")))

    async def events(self, last: int) -> list[Event]:
        """Listen until event number `last` has come."""
        heard: list[Event] = []
        while not heard or heard[-1].number < last:
            heard += (await self.hear(ReportEvents)).events
        return heard

    async def acknowledge(self, number: int) -> None:
        await self.say(Acknowledge(number=number))

    async def ended(self) -> ChannelClosedError:
        """Wait until the appliance has hung up."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await self.channel.receive()
                except ChannelClosedError as closed:
                    return closed

    def cut(self) -> None:
        """Break the connection without a word, as a lost network does."""
        self.channel._connection.transport.abort()


STRAIGHT = Outward(Direct(), Direct(), Choice(Way.DIRECT))


class ScriptedConsole:
    """A console's authority and its end of the tunnel."""

    def __init__(self, directory: Path) -> None:
        self.now = datetime.now(UTC)  # noqa: TID251 - the TLS library uses the machine's clock
        self.directory = files.make_private_directory(directory)
        self.authority = Authority.open(directory / "authority", now=self.now)
        self.url = ""
        self.calls: asyncio.Queue[Talk] = asyncio.Queue()
        self.sessions: asyncio.Queue[tuple[Session, str]] = asyncio.Queue()
        self.draining = asyncio.Event()
        self.over = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        key = keys.keep(self.directory / "server.key")
        issued = self.authority.sign_server(key.public_key(), ["127.0.0.1"], now=self.now)
        (self.directory / "server.pem").write_text(issued.pem)
        context = tls.server(
            self.directory / "server.pem", self.directory / "server.key", clients=self.authority.clients
        )
        async with accepting(
            "127.0.0.1",
            0,
            tls=context,
            on_channel=self._taken,
            message_limit=MESSAGE_LIMIT,
            data=DataEnd(self._opened),
            lobby=Lobby(draining=self.draining),
        ) as port:
            self.url = f"wss://127.0.0.1:{port}/"
            try:
                yield
            finally:
                self.over.set()

    async def _taken(self, channel: Channel) -> None:
        self.calls.put_nowait(Talk(channel))
        await self.over.wait()

    async def _opened(self, session: Session, path: str) -> None:
        self.sessions.put_nowait((session, path))
        await session.closed()

    async def called(self) -> Talk:
        async with asyncio.timeout(PATIENCE):
            return await self.calls.get()

    async def session(self) -> tuple[Session, str]:
        """Wait for the next data session; return it with the path it was opened at."""
        async with asyncio.timeout(PATIENCE):
            return await self.sessions.get()

    def grant(self, request: str, gateway: UUID, *, number: int = 2) -> Granted:
        """Return what answers a request for a certificate."""
        issued = self.authority.sign_gateway(request, gateway, now=self.now)
        join = JoinState(number=number, ticket=SecretStr(secrets.token_hex(32)))
        return Granted(certificate=issued.pem, trust=self.authority.trust, join=join)

    def pair(self, identity: Identity) -> Paired:
        """Give the appliance what pairing would have brought."""
        gateway = uuid4()
        issued = self.authority.sign_gateway(identity.candidate().request, gateway, now=self.now)
        result = PairingResult(
            gateway_id=gateway,
            gateway_name="dc1",
            certificate=issued.pem,
            bundle=self.authority.trust,
            join=JoinState(number=1, ticket=secrets.token_hex(32)),
            tunnel=self.url or "wss://127.0.0.1:1/",
            server_time=self.now,
        )
        return identity.store(result, console="https://127.0.0.1:1")


@dataclass
class Conversation:
    """A console, the appliance's journal, and the first call."""

    console: ScriptedConsole
    journal: Journal
    clock: HandClock
    identity: Identity
    time: ConsoleTime
    turnover: Turnover
    sealed: Sealed
    welcomes: list[Welcome] = field(default_factory=list)

    async def called(self) -> Talk:
        return await self.console.called()

    def welcomed(self, welcome: Welcome, *, asked: float) -> None:
        assert asked <= self.clock.monotonic()
        self.welcomes.append(welcome)
        self.time.heard(welcome.server_time, asked=asked)


@asynccontextmanager
async def conversation(
    directory: Path,
    *,
    accounts: Callable[[], list[str]] = lambda: ["main"],
    targets: Callable[[], list[OfferedTarget]] = list,
    boot_id: UUID | None = None,
    machine: Hardware | None = None,
) -> AsyncIterator[Conversation]:
    """Keep an appliance's link running against a scripted console."""
    console, clock = ScriptedConsole(directory / "console"), HandClock()
    state = files.make_private_directory(directory / "state")
    async with console.listening(), Journal.open(state / "journal.db", clock=clock) as journal:
        identity = Identity.open(state)
        console.pair(identity)
        itself, turnover = Self(boot_id or uuid4(), machine or Hardware()), Turnover()
        sealed = Sealed.open(state, gateway=identity.member().gateway_id, device=identity.device(), clock=clock)
        audit = AuditLog(state, clock=clock)
        gate = Gate(state, journal, gateway=identity.member().gateway_id, append=audit.append, clock=clock)
        gate.kept.file.write(of_profile(Profile.OPERATE))
        talks = Conversation(console, journal, clock, identity, ConsoleTime(clock), turnover, sealed)
        lane = Lane(state, journal, identity, time=talks.time, gate=gate, clock=clock)
        link = Link(
            Greeter(identity, journal, itself),
            clock=clock,
            offers=lambda: Offers(accounts=accounts(), targets=targets(), halted=lane.halt.read()),
            welcomed=talks.welcomed,
            time=talks.time,
            outward=STRAIGHT,
            turnover=turnover,
            recovery=Recovery(identity, itself, roads=FirstRoads, clock=clock),
            sealed=sealed,
            gate=gate,
            lane=lane,
        )
        async with supervise.running(gate=gate.run(), link=link.run(first=0.01, cap=0.01)):
            yield talks
