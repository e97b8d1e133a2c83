"""This file is proxies for tests: HTTP CONNECT and SOCKS5 on loopback, honest, strict, slow or hostile."""

import asyncio
import base64
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from gateway.tunnel.proxies import Credentials, ProxyAddress

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Serve = Callable[[Reader, Writer], Awaitable[None]]
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@asynccontextmanager
async def listening(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve connections on a port of loopback while the body runs; then cut those that are left."""
    async with asyncio.TaskGroup() as group:
        tasks: set[asyncio.Task[None]] = set()

        async def served(reader: Reader, writer: Writer) -> None:
            try:
                with suppress(OSError, asyncio.IncompleteReadError):
                    await serve(reader, writer)
            finally:
                writer.transport.abort()

        def connected(reader: Reader, writer: Writer) -> None:
            tasks.add(group.create_task(served(reader, writer)))

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await server.wait_closed()
            for task in tasks:
                task.cancel()
    await asyncio.sleep(0)  # transports that were cut close their sockets in the next turn


@dataclass
class Wire:
    """How a proxy carries bytes once it is connected."""

    idle: float | None = None
    """Seconds without a byte in either direction after which it cuts."""
    hoard: int = 64 * 1024
    """Bytes it takes in before it has passed them on."""
    pause: float = 0.0
    """Seconds it takes for each 64 KiB."""
    swallows: asyncio.Event = field(default_factory=asyncio.Event)
    """Once set, what comes from the far side is dropped without a word."""
    cuts: asyncio.Event = field(default_factory=asyncio.Event)
    """Once set, everything is cut, now and later."""
    carried: int = 0

    async def join(self, near: tuple[Reader, Writer], far: tuple[Reader, Writer]) -> None:
        with suppress(OSError):
            async with asyncio.timeout(self.idle) as limit, asyncio.TaskGroup() as group:
                ways = [
                    group.create_task(self._carry(near[0], far[1], limit, down=False)),
                    group.create_task(self._carry(far[0], near[1], limit, down=True)),
                ]
                cut = group.create_task(self.cuts.wait())
                await asyncio.wait([*ways, cut], return_when=asyncio.FIRST_COMPLETED)
                if not cut.done():
                    await asyncio.wait(ways)
                for task in (*ways, cut):
                    task.cancel()

    async def _carry(self, source: Reader, sink: Writer, limit: asyncio.Timeout, *, down: bool) -> None:
        while True:
            try:
                piece = await source.read(64 * 1024)
            except OSError:
                piece = b""
            if self.idle is not None:
                limit.reschedule(asyncio.get_running_loop().time() + self.idle)
            if not piece:
                break
            if down and self.swallows.is_set():
                continue
            self.carried += len(piece)
            await asyncio.sleep(self.pause * len(piece) / 65536)
            with suppress(OSError):
                sink.write(piece)
                await sink.drain()
        with suppress(OSError):
            sink.write_eof()


class Greets(Protocol):
    """Goes through a proxy's own protocol and returns where the caller wants to, or None when it was sent away."""

    async def greet(self, reader: Reader, writer: Writer) -> tuple[str, int] | None: ...

    def accept(self, writer: Writer) -> None: ...


@dataclass
class Connect:
    """HTTP CONNECT; with `credentials`, for who brings them."""

    credentials: Credentials | None = None
    scheme: str = "Basic"
    requests: list[str] = field(default_factory=list)
    kind: str = "http"

    async def greet(self, reader: Reader, writer: Writer) -> tuple[str, int] | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        if self.credentials is not None and f"Proxy-Authorization: {self.expected}" not in head:
            challenge = f'HTTP/1.1 407 Who are you\r\nProxy-Authenticate: {self.scheme} realm="proxy"\r\n'
            writer.write(f"{challenge}Content-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return None
        host, _, port = head.split()[1].rpartition(":")
        return host.strip("[]"), int(port)

    def accept(self, writer: Writer) -> None:
        writer.write(CONNECTED)

    @property
    def expected(self) -> str:
        assert self.credentials is not None
        both = f"{self.credentials.user}:{self.credentials.password}"
        return f"Basic {base64.b64encode(both.encode()).decode()}"


@dataclass
class Socks:
    """SOCKS5 by domain name or IPv4 address; with `credentials`, for who brings them. `reply` other than 0 refuses."""

    credentials: Credentials | None = None
    reply: int = 0
    requests: list[str] = field(default_factory=list)
    kind: str = "socks5"

    async def greet(self, reader: Reader, writer: Writer) -> tuple[str, int] | None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 0 if self.credentials is None else 2
        writer.write(bytes([5, wanted if wanted in methods else 255]))
        if wanted not in methods or (wanted and not await self._known(reader, writer)):
            await writer.drain()
            return None
        _, _, _, form = await reader.readexactly(4)
        length = (await reader.readexactly(1))[0] if form == 3 else 4
        address = await reader.readexactly(length)
        host = address.decode() if form == 3 else socket.inet_ntoa(address)
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        self.requests.append(f"{host}:{port}")
        if self.reply:
            writer.write(bytes([5, self.reply, 0, 1, 0, 0, 0, 0, 0, 0]))
            await writer.drain()
            return None
        return host, port

    async def _known(self, reader: Reader, writer: Writer) -> bool:
        assert self.credentials is not None
        await reader.readexactly(1)
        said = [(await reader.readexactly((await reader.readexactly(1))[0])).decode() for _ in range(2)]
        known = said == [self.credentials.user, self.credentials.password]
        writer.write(bytes([1, 0 if known else 1]))
        return known

    def accept(self, writer: Writer) -> None:
        writer.write(bytes([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))


@asynccontextmanager
async def proxy(
    greets: Connect | Socks | None = None,
    *,
    wire: Wire | None = None,
    names: dict[str, str] | None = None,
    credentials: Credentials | None = None,
) -> AsyncIterator[ProxyAddress]:
    """Run a proxy and yield its address, with `credentials` for who calls. `names` are hosts that it alone knows."""
    greets, wire, names = greets or Connect(), wire or Wire(), names or {}

    async def serve(reader: Reader, writer: Writer) -> None:
        target = await greets.greet(reader, writer)
        if target is None:
            return
        far_reader, far_writer = await asyncio.open_connection(
            names.get(target[0], target[0]), target[1], limit=wire.hoard
        )
        try:
            greets.accept(writer)
            await wire.join((reader, writer), (far_reader, far_writer))
        finally:
            far_writer.transport.abort()

    async with listening(serve) as port:
        yield ProxyAddress("http" if greets.kind == "http" else "socks5", "127.0.0.1", port, credentials)


@asynccontextmanager
async def saying(
    answer: bytes, *, end: bool = False, endless: bool = False
) -> AsyncIterator[tuple[ProxyAddress, list[str]]]:
    """Run what answers any CONNECT with these bytes; yields its address and what it was asked."""
    asked: list[str] = []

    async def serve(reader: Reader, writer: Writer) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(answer)
        while endless:
            writer.write(b"X-Filler: " + b"x" * 1000 + b"\r\n")
            await writer.drain()
        await writer.drain()
        if end:
            return
        await reader.read()

    async with listening(serve) as port:
        yield ProxyAddress("http", "127.0.0.1", port), asked
