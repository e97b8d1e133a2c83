"""This file is the data side of an appliance that follows a script, and a user's program that opens streams."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from gateway.contract import streams as contract
from gateway.contract.streams import LATCH_PARAMETER, SESSION_PARAMETER, StreamPreamble, StreamReply, UserPreamble
from gateway.identity.grants import Grant, Grants, read_public
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.dataline import dial_data
from gateway.tunnel.session import Session
from gateway.tunnel.stream import Stream
from tests.fakes.console import Appliance, Console, trust

OK = StreamReply(status="ok", connection_id=UUID(int=7))
DENIED = StreamReply(
    status="refused", code="stream.target_denied", detail="the address is not allowed", remedy=Remedy.OPERATOR
)


async def echo(stream: Stream) -> None:
    """Send back what comes, and end when it has ended."""
    try:
        while piece := await stream.read():
            await stream.write(bytes(piece))
        stream.end()
    except GatewayError:
        return


@dataclass
class Data:
    """A data session of an appliance. It checks grants as a real one does, and lets `serves` do the rest."""

    appliance: Appliance
    grants: Grants
    id: UUID = field(default_factory=uuid4)
    reply: StreamReply = OK
    serves: Callable[[Stream], Awaitable[None]] = echo
    asked: list[StreamPreamble] = field(default_factory=list)
    granted: list[Grant] = field(default_factory=list)

    async def on_stream(self, stream: Stream, preamble: bytes) -> None:
        said = contract.read_preamble(preamble)
        self.asked.append(said)
        paired, now = self.appliance.paired, self.appliance.console.clock.now()
        grant = self.grants.check(
            said.grant, gateway=paired.gateway_id, target=said.target, session=str(self.id), now=now
        )
        self.granted.append(grant)
        stream.answer(contract.write(self.reply))
        if self.reply.status == "ok":
            await self.serves(stream)
        else:
            stream.end()

    @asynccontextmanager
    async def open(self, *, query: str | None = None) -> AsyncIterator[Session]:
        """Keep the session open while the body runs; `query` is what it says of itself, its own id by default."""
        latch = f"&{LATCH_PARAMETER}={self.appliance.latch}" if self.appliance.latch else ""
        said = f"?{SESSION_PARAMETER}={self.id}{latch}" if query is None else query
        url = self.appliance.paired.tunnel.rstrip("/") + "/" + said
        async with dial_data(url, tls=self.appliance.tls, on_stream=self.on_stream) as session:
            yield session


async def data_of(appliance: Appliance, *targets: str) -> Data:
    """Have an appliance say what it offers, and return a data session of it that is not open yet."""
    async with appliance.connected(protocol=2, targets=targets or ("web",)) as line:
        assert line.welcome is not None
        assert line.welcome.grant_key is not None
        return Data(appliance, Grants(read_public(line.welcome.grant_key)))


@asynccontextmanager
async def tunnel(console: Console, *, key: str | None = None) -> AsyncIterator[Session]:
    """Open a user's tunnel."""
    url = console.reached.api.replace("https://", "wss://") + "/api/v1/tunnel"
    headers = {"Authorization": f"Bearer {key or console.key}"}
    async with dial_data(url, tls=trust(console.settings), headers=headers) as session:
        yield session


async def reach(session: Session, target: str = "web", *, gateway: str = "dc1") -> tuple[Stream, StreamReply]:
    """Ask for a stream and return it with the reply."""
    stream, said = await session.open(contract.write(UserPreamble(gateway=gateway, target=target)))
    return stream, contract.read_reply(said)


async def exchanged(stream: Stream, content: bytes) -> bytes:
    """Send everything, end, and return everything that comes back."""
    back = bytearray()
    await stream.write(content)
    stream.end()
    while piece := await stream.read():
        back += piece
    return bytes(back)
