"""This file is a site for streams: an appliance's service, targets on loopback, and a console that signs grants."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID, uuid4

from gateway.appliance.audit import AuditLog
from gateway.appliance.auditor import Auditor
from gateway.appliance.reach import Address, Network
from gateway.appliance.resolving import Dialler
from gateway.appliance.room import Room
from gateway.appliance.streams import StreamService
from gateway.appliance.targets import Target, Targets
from gateway.audit.lines import Entry, parsed
from gateway.contract import streams as contract
from gateway.contract.messages import Welcome
from gateway.contract.streams import StreamPreamble, StreamReply
from gateway.identity.grants import Grant, GrantKey
from gateway.tunnel.session import Session
from gateway.tunnel.stream import Stream
from tests.fakes.clock import HandClock
from tests.fakes.wire import wired

GATEWAY = UUID(int=77)
SESSION = "5e551011-0000-4000-8000-000000000001"
LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"),)


def nobody(_address: Address) -> bool:
    return False


@dataclass
class Lookup:
    """A name server that gives the answers it was told, one after the other, and counts."""

    answers: list[Sequence[str]] = field(default_factory=lambda: [["127.0.0.1"]])
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@dataclass
class Site:
    """One appliance with one data session."""

    service: StreamService
    console: Session
    targets: Targets
    log: AuditLog
    key: GrantKey
    clock: HandClock
    lookup: Lookup

    def grant(self, target: str = "echo", *, changed: Mapping[str, object] | None = None) -> str:
        now = self.clock.now()
        fields: dict[str, object] = {
            "id": uuid4(),
            "user": "ada",
            "tenant": "default",
            "gateway": GATEWAY,
            "target": target,
            "session": SESSION,
            "not_before": now,
            "expires": now + timedelta(seconds=30),
        }
        return self.key.sign(Grant.model_validate(fields | dict(changed or {})))

    def preamble(self, target: str = "echo", *, grant: str | None = None, deadline_ms: int = 5000) -> bytes:
        wish = StreamPreamble(target=target, trace=uuid4(), grant=grant or self.grant(target), deadline_ms=deadline_ms)
        return contract.write(wish)

    async def ask(self, preamble: bytes) -> tuple[Stream, StreamReply]:
        async with asyncio.timeout(10):
            stream, reply = await self.console.open(preamble)
        return stream, contract.read_reply(reply)

    async def open(self, target: str = "echo") -> Stream:
        stream, reply = await self.ask(self.preamble(target))
        assert reply.status == "ok", reply
        return stream

    async def refused(self, preamble: bytes) -> StreamReply:
        stream, reply = await self.ask(preamble)
        assert reply.status == "refused"
        assert await read_all(stream) == b""
        stream.end()
        return reply

    def entries(self) -> list[Entry]:
        return [entry for _, line in self.log.lines() if (entry := parsed(line))]

    async def told(self, action: str, count: int = 1) -> list[Entry]:
        """Wait until the audit log holds so many lines of that action, and return them."""
        async with asyncio.timeout(10):
            while len(found := [one for one in self.entries() if one.act.action == action]) < count:  # noqa: ASYNC110 - another thread writes the file
                await asyncio.sleep(0.005)
        return found


async def read_all(stream: Stream) -> bytes:
    content = bytearray()
    async with asyncio.timeout(10):
        while piece := await stream.read():
            content += piece
    return bytes(content)


async def exchange(stream: Stream, content: bytes) -> bytes:
    """Send something to an echo, end, and return what comes back until it ends too."""
    await stream.write(content)
    stream.end()
    return await read_all(stream)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes; say good-bye after the end, which shows that the end went one way only."""
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.write(b"bye")
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def site(
    state: Path,
    *,
    lookup: Lookup | None = None,
    deny: Sequence[Network] = (),
    own: Callable[[Address], bool] = nobody,
    room: Room | None = None,
    welcomed: bool = True,
    append: Callable[..., None] | None = None,
) -> AsyncIterator[Site]:
    """Run an appliance's stream service with the target `echo` behind the name echo.test."""
    clock, key, found = HandClock(), GrantKey.new(), lookup or Lookup()
    targets, log = Targets(state / "targets"), AuditLog(state, clock=clock)
    dialler = Dialler(look_up=found, deny=deny, own=own)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    targets.write("echo", Target(host="echo.test", port=port, allow=("127.0.0.0/8",)))
    with Auditor(append or log.append) as auditor:
        service = StreamService(
            gateway=GATEWAY, targets=targets, audit=auditor, dialler=dialler, clock=clock, room=room
        )
        if welcomed:
            welcome = Welcome(protocol=2, server_time=clock.now(), acknowledged=0, grant_key=key.public_text)
            service.welcomed(welcome, asked=clock.monotonic())
        async with server, wired(service.taker(SESSION)) as console:
            yield Site(service, console, targets, log, key, clock, found)
    dialler.close()
