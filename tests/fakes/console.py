"""This file is a whole console for tests (real database, HTTPS and tunnel), and an appliance that follows a script."""

import asyncio
import io
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import aiohttp
from pydantic import BaseModel

from gateway.console import auth, daemon
from gateway.console.daemon import Reached
from gateway.console.settings import ConsoleSettings
from gateway.console.store import doors, people
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from gateway.contract.accounts import SealedAccounts
from gateway.contract.clusters import ClusterSpec
from gateway.contract.commands import Command
from gateway.contract.events import Event, EventBody, StepBegan
from gateway.contract.identity import RenewalRefused, Renewed
from gateway.contract.messages import (
    MESSAGE_LIMIT,
    Accepted,
    Acknowledge,
    Deliver,
    Hello,
    ReportEvents,
    Trust,
    Welcome,
    from_console,
)
from gateway.contract.pairing import PairingChallenge, PairingFinish, PairingResult
from gateway.contract.policy import PolicyProposed, PolicyTightened
from gateway.contract.streams import OfferedTarget
from gateway.identity import devicekeys, keys, pairing, tls, tokens
from gateway.identity.authority import certificate_request
from gateway.identity.devicekeys import DeviceKey
from gateway.identity.tokens import RegistrationToken
from gateway.kit.clock import SystemClock
from gateway.kit.connector import Connector
from gateway.tunnel.channel import Channel
from gateway.tunnel.dialer import dial


class ShiftedClock(SystemClock):
    """The machine's clock, put forward by a test."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SetClock(ShiftedClock):
    """A clock that is set while the machine runs: forth and back, which no monotonic clock takes part in."""

    def monotonic(self) -> float:
        return SystemClock.monotonic(self)


def cluster(
    name: str = "demo", *, gateway: str = "dc1", workers: int = 2, account: str = "main", **place: str
) -> ClusterSpec:
    return ClusterSpec.model_validate(
        {
            "name": name,
            "gateway": gateway,
            "cloud": {"account": account, "template": "debian-12", **place},
            "pools": [
                {"name": "control", "role": "control-plane", "count": 1},
                {"name": "workers", "role": "worker", "count": workers},
            ],
        }
    )


@dataclass(frozen=True)
class Said:
    """An answer of the API."""

    status: int
    body: Any
    headers: Any


@dataclass
class Console:
    """A running console and a client with an administrator's key."""

    reached: Reached
    settings: ConsoleSettings
    clock: ShiftedClock
    http: aiohttp.ClientSession
    key: str

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = None, raw: bytes | None = None
    ) -> Said:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"}
        async with self.http.request(
            method, path, json=body, data=None if raw is None else io.BytesIO(raw), headers=headers
        ) as answer:
            text = await answer.text()
            decoded = await answer.json(content_type=None) if text and answer.content_type.endswith("json") else text
            return Said(answer.status, decoded, answer.headers)

    async def put(self, spec: ClusterSpec, *, key: str | None = None) -> Said:
        path = f"/api/v1/projects/default/clusters/{spec.name}"
        return await self.ask("PUT", path, spec.model_dump(mode="json"), key=key)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """Open the console's database beside it."""
        async with Store.open(self.settings.database_url) as store:
            yield store

    async def scope(self) -> Scope:
        async with self.store() as store:
            return Scope(await doors.tenant_named(store, "default", now=self.clock.now()))

    async def add_tenant(self, name: str) -> str:
        """Make another tenant with a project "default" and return a key of it."""
        now = self.clock.now()
        async with self.store() as store:
            scope = Scope(await doors.tenant_named(store, name, now=now))
            key = auth.new_key()
            async with store.writing(scope) as rows:
                await people.ensure_project(rows, "default", now=now)
                user = await people.ensure_user(rows, "somebody", now=now)
                await auth.remember(rows, user, key, name="a key", now=now)
        return key.text


def trust(settings: ConsoleSettings) -> ssl.SSLContext:
    return tls.timeless((settings.state / "authority" / "authority.pem").read_text())


@asynccontextmanager
async def running_console(state: Path, clock: ShiftedClock | None = None) -> AsyncIterator[Console]:
    settings = ConsoleSettings(
        state=state, listen="127.0.0.1", api_port=0, tunnel_port=0, hosts=["localhost", "127.0.0.1"], grace=1.0
    )
    clock = clock or ShiftedClock()
    async with daemon.running(settings, clock=clock) as reached:
        connector = Connector(trust(settings))
        async with aiohttp.ClientSession(reached.api, connector=connector) as http:
            yield Console(reached, settings, clock, http, (state / "admin.key").read_text().strip())


async def tenant_scope(store: Store, name: str, now: datetime) -> Scope:
    """Make a tenant with one project and return the scope of the project."""
    tenant: UUID = await doors.tenant_named(store, name, now=now)
    async with store.writing(Scope(tenant)) as rows:
        return Scope(tenant, await people.ensure_project(rows, "default", now=now))


@dataclass
class Appliance:
    """An appliance that was paired, and says what a test has it say."""

    console: Console
    paired: PairingResult
    tls: ssl.SSLContext
    last_event: int = 0
    boot_id: UUID = field(default_factory=uuid4)
    device: DeviceKey = field(default_factory=devicekeys.new)
    latch: str | None = None

    @asynccontextmanager
    async def dialled(self) -> AsyncIterator[Channel]:
        async with dial(self.paired.tunnel, tls=self.tls, message_limit=MESSAGE_LIMIT) as channel:
            yield channel

    @asynccontextmanager
    async def connected(
        self,
        *,
        protocol: int = 1,
        targets: tuple[str, ...] = (),
        **said: Any,  # noqa: ANN401 - what else a hello says
    ) -> AsyncIterator["Line"]:
        async with self.dialled() as channel:
            line = Line(self, channel)
            hello = Hello(
                protocol=protocol,
                software="9.9",
                boot_id=self.boot_id,
                accounts=["main"],
                targets=[OfferedTarget(id=one, kind="tcp") for one in targets],
                next_event=self.last_event + 1,
            )
            await line.say(hello.model_copy(update=said))
            line.welcome = await line.hear(Welcome)
            self.latch = line.welcome.latch
            yield line


M = TypeVar(
    "M",
    Welcome,
    Deliver,
    Acknowledge,
    SealedAccounts,
    Renewed,
    RenewalRefused,
    Trust,
    PolicyProposed,
    PolicyTightened,
)


@dataclass
class Line:
    """An open command channel, seen from the appliance."""

    appliance: Appliance
    channel: Channel
    welcome: Welcome | None = None

    async def say(self, message: BaseModel) -> None:
        await self.channel.send(message.model_dump_json())

    async def hear(self, kind: type[M]) -> M:
        """Return the next message, which is of that kind; sealed accounts come unasked, and are passed over."""
        async with asyncio.timeout(20):
            while True:
                message = from_console.validate_json(await self.channel.receive())
                if kind is SealedAccounts or not isinstance(message, SealedAccounts):
                    break
        assert isinstance(message, kind), message
        return message

    async def take(self) -> Command:
        """Take the next delivery and accept it."""
        delivered = await self.hear(Deliver)
        await self.say(Accepted(command_id=delivered.command_id))
        return Command.model_validate(delivered.command)

    def event(self, command: UUID, body: EventBody) -> Event:
        self.appliance.last_event += 1
        return Event(number=self.appliance.last_event, command_id=command, at=datetime.now(UTC), body=body)  # noqa: TID251

    async def settle(self) -> None:
        """Wait until the console has taken in everything said so far: it listens in order."""
        await self.report(uuid4(), StepBegan(step="settle", title="settle"))

    async def report(self, command: UUID, *bodies: EventBody) -> int:
        """Report events and return what is acknowledged."""
        await self.say(ReportEvents(events=[self.event(command, body) for body in bodies]))
        return (await self.hear(Acknowledge)).number


async def token(console: Console, gateway: str = "dc1", *, key: str | None = None) -> str:
    said = await console.ask("POST", "/api/v1/registration-tokens", {"gateway": gateway}, key=key)
    assert said.status == 201, said
    return str(said.body["token"])


async def start(console: Console, parsed: RegistrationToken) -> tuple[Said, str]:
    nonce = secrets.token_hex(32)
    return await console.ask("POST", "/api/v1/pairing/start", {"token_id": parsed.id, "nonce": nonce}, key=""), nonce


async def finish(console: Console, parsed: RegistrationToken, candidate: pairing.Candidate) -> Said:
    """Go through the whole pairing conversation."""
    said, nonce = await start(console, parsed)
    if said.status != 200:
        return said
    proof = proof_of(console, parsed, candidate, said, nonce)
    return await console.ask("POST", "/api/v1/pairing/finish", proof.model_dump(mode="json"), key="")


def proof_of(
    console: Console, parsed: RegistrationToken, candidate: pairing.Candidate, said: Said, nonce: str
) -> PairingFinish:
    """Return the answer to a challenge by an appliance that has spoken with this very console."""
    challenge = PairingChallenge.model_validate(said.body)
    key = keys.spki_digest(keys.read(console.settings.state / "server.key").public_key()).hex()
    server = pairing.Server(parsed.url, parsed.pins[0], key)
    return pairing.prove(parsed, candidate, challenge, nonce=nonce, server=server)


def candidate() -> tuple[pairing.Candidate, keys.PrivateKey]:
    key = keys.new_key()
    return pairing.Candidate(devicekeys.new(), certificate_request(key)), key


async def paired_appliance(console: Console, gateway: str = "dc1", *, key: str | None = None) -> Appliance:
    return await paired_as(console, *candidate(), gateway=gateway, key=key)


async def paired_as(
    console: Console,
    applicant: pairing.Candidate,
    private_key: keys.PrivateKey,
    *,
    gateway: str = "dc1",
    key: str | None = None,
) -> Appliance:
    """Pair an appliance that has these keys."""
    parsed = tokens.parse(await token(console, gateway, key=key))
    said = await finish(console, parsed, applicant)
    assert said.status == 200, said
    result = PairingResult.model_validate(said.body)
    directory = console.settings.state.parent
    certificate, private = directory / f"{gateway}.pem", directory / f"{gateway}.key"
    certificate.write_text(result.certificate)
    keys.write(private, private_key)
    context = tls.client("".join(result.bundle.roots), certificate=certificate, key=private)
    return Appliance(console, result, context, device=applicant.device)
