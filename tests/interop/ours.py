"""This file is our end of a session, held the same way as the foreign one."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from gateway.kit.errors import GatewayError
from gateway.tunnel.acceptor import accepting
from gateway.tunnel.channel import Channel
from gateway.tunnel.dataline import DataEnd, dial_data
from gateway.tunnel.frames import Reset
from gateway.tunnel.limits import Limits
from gateway.tunnel.session import Session
from gateway.tunnel.stream import Stream, StreamResetError
from tests.interop.credentials import Credentials
from tests.interop.material import PIECE, Received, pattern

CONNECT_LIMIT = 20.0


class Servant:
    """Carries out what the preamble of a foreign stream asks for; `let` frees those that were asked to be slow."""

    def __init__(self) -> None:
        self.let = asyncio.Event()

    async def serve(self, stream: Stream, preamble: bytes) -> None:
        """Answer one stream to its end."""
        wanted = json.loads(preamble)
        what = wanted["do"]
        if what == "reset":
            stream.reset(Reset(wanted["code"]))
            return
        stream.answer(f"ok {what}".encode())
        try:
            match what:
                case "echo":
                    while piece := await stream.read():
                        await stream.write(piece)
                case "source":
                    await send(stream, wanted["bytes"])
                case "sink" | "slow":
                    if what == "slow":
                        await self.let.wait()
                    await stream.write(json.dumps(asdict(await receive(stream))).encode())
                case "farewell":
                    await send(stream, wanted["bytes"])
                    stream.end()
                    await receive(stream)
            stream.end()
        except GatewayError:  # the stream was reset, or the session is over
            return


class Ours:
    """A Peer in this process."""

    def __init__(self, session: Session, servant: Servant) -> None:
        self.session = session
        self._servant = servant
        self._streams: dict[int, Stream] = {}

    async def open(self, preamble: str | None) -> tuple[int, str]:
        assert preamble is not None, "our library opens no stream without a preamble"
        stream, reply = await self.session.open(preamble.encode())
        self._streams[stream.id] = stream
        return stream.id, reply.decode()

    async def send(self, stream: int, count: int, *, piece: int = PIECE) -> None:
        await send(self._streams[stream], count, piece=piece)

    async def receive(self, stream: int, count: int = -1) -> Received:
        return await receive(self._streams[stream], count)

    async def read_text(self, stream: int) -> str:
        text = bytearray()
        while piece := await self._streams[stream].read():
            text += piece
        return text.decode()

    async def finish(self, stream: int) -> None:
        self._streams[stream].end()

    async def reset(self, stream: int, reason: Reset) -> None:
        """Cut a stream."""
        self._streams[stream].reset(reason)

    async def go_away(self) -> None:
        self.session.mux.go_away()
        self.session.flush_soon()

    async def streams(self) -> int:
        return self.session.streams

    async def let_read(self) -> None:
        self._servant.let.set()

    async def wait_closed(self) -> str:
        return (await self.session.closed()).message


async def send(stream: Stream, count: int, *, piece: int = PIECE) -> None:
    """Write the material to a stream."""
    for start in range(0, count, piece):
        await stream.write(pattern(start, min(piece, count - start)))


async def receive(stream: Stream, count: int = -1) -> Received:
    """Read up to `count` bytes (-1: all)."""
    told, size, ended = hashlib.sha256(), 0, "more"
    while count < 0 or size < count:
        try:
            piece = await stream.read(PIECE if count < 0 else count - size)
        except StreamResetError:
            ended = "reset"
            break
        if not piece:
            ended = "end"
            break
        told.update(piece)
        size += len(piece)
    return Received(size, told.hexdigest(), ended)


@asynccontextmanager
async def console(
    credentials: Credentials, *, limits: Limits | None = None
) -> AsyncIterator[tuple[str, "asyncio.Future[Ours]"]]:
    """Accept one session; yield where to dial, and our end once somebody has."""
    servant = Servant()
    called: asyncio.Future[Ours] = asyncio.get_running_loop().create_future()

    async def taken(session: Session, _path: str) -> None:
        called.set_result(Ours(session, servant))
        await session.closed()

    async def not_wanted(channel: Channel) -> None:
        await channel.close()

    accepted = accepting(
        "127.0.0.1",
        0,
        tls=credentials.server,
        on_channel=not_wanted,
        message_limit=PIECE,
        data=DataEnd(taken, on_stream=servant.serve, limits=limits),
    )
    async with accepted as port:
        yield f"wss://127.0.0.1:{port}/", called


@asynccontextmanager
async def appliance(credentials: Credentials, url: str, *, limits: Limits | None = None) -> AsyncIterator[Ours]:
    """Dial a console and yield our end."""
    servant = Servant()
    async with dial_data(url, tls=credentials.client, on_stream=servant.serve, limits=limits) as session:
        yield Ours(session, servant)
