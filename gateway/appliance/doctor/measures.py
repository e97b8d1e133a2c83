"""This file is what is measured on the console's echo: a quiet connection, sizes of messages, amounts of bytes."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway.appliance.doctor.subject import Place
from gateway.appliance.doctor.verdicts import Ended
from gateway.kit.clock import Clock
from gateway.tunnel.calling import open_websocket
from gateway.tunnel.roads import Road

SUBPROTOCOL = "pcg.echo.v1"
PATH = "/api/v1/echo"
MESSAGE_LIMIT = 128 * 1024
SIZES = (1, 1400, 1500, 9000, 65536)
IP_MTU = 14
IPV6_MTU = 24
"""Of Linux's in.h and in6.h; Python's socket has no names for them."""
AMOUNTS = (64 * 1024, 512 * 1024, 8 * 1024 * 1024)
PIECE = 64 * 1024
ENOUGH = 5.0
"""Seconds that a measurement of throughput should take at most."""
STALLED = 20.0
GOOD_BYE = 1.0


@asynccontextmanager
async def echoing(road: Road, place: Place, context: ssl.SSLContext) -> AsyncIterator[ClientConnection]:
    """Open the echo while the body runs. Raises what open_websocket does."""
    opened = await open_websocket(
        f"wss://{place.text}{PATH}",
        tls=context,
        road=road,
        subprotocol=SUBPROTOCOL,
        message_limit=MESSAGE_LIMIT,
        kind=ClientConnection,
    )
    try:
        yield opened
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(GOOD_BYE):
                await opened.close()
        opened.transport.abort()
        await opened.wait_closed()


async def comes_back(echo: ClientConnection, content: bytes, *, within: float) -> bool:
    """Tell whether these bytes come back in time. Raises ConnectionClosed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await echo.send(content)
            return bool(await echo.recv(decode=False) == content)
    return False


async def hold(echo: ClientConnection, *, seconds: float, answer: float, clock: Clock) -> tuple[Ended, float]:
    """Leave the connection alone, then see whether it still carries bytes; return how it ended, and after how long."""
    began = clock.monotonic()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await echo.recv()
        alive = await comes_back(echo, b"still here", within=answer)
    except ConnectionClosed as fault:
        return Ended.CLOSED if fault.rcvd is not None else Ended.CUT, clock.monotonic() - began
    return Ended.NOT if alive else Ended.DEAD, clock.monotonic() - began


@dataclass(frozen=True, slots=True)
class Sizes:
    """Which sizes came back, which was the first that did not, and whether the connection ended over it."""

    passed: list[int]
    lost: int | None = None
    cut: bool = False


async def sizes(echo: ClientConnection, *, answer: float) -> Sizes:
    """Send messages of growing sizes, each once the one before has come back."""
    passed: list[int] = []
    for size in SIZES:
        try:
            if not await comes_back(echo, bytes(size), within=answer):
                return Sizes(passed, size)
        except ConnectionClosed:
            return Sizes(passed, size, cut=True)
        passed.append(size)
    return Sizes(passed)


def kernel_mtu(echo: ClientConnection) -> int | None:
    """Return the MTU that the kernel knows of the path; None where it does not say."""
    connected: socket.socket | None = echo.transport.get_extra_info("socket")
    if connected is None:
        return None
    try:
        if connected.family == socket.AF_INET6:
            return connected.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
        return connected.getsockopt(socket.IPPROTO_IP, IP_MTU)
    except OSError:
        return None


async def up(echo: ClientConnection, *, clock: Clock) -> float | None:
    """Return the bits a second that the console takes; None when they do not arrive."""

    async def send(amount: int) -> None:
        await echo.send(f"up {amount}")
        for _ in range(amount // PIECE):
            await echo.send(bytes(PIECE))
        await echo.recv()

    return await _rate(send, clock)


async def down(echo: ClientConnection, *, clock: Clock) -> float | None:
    """Return the bits a second that come from the console; None when they do not arrive."""

    async def take(amount: int) -> None:
        await echo.send(f"down {amount}")
        while amount > 0:
            amount -= len(await echo.recv(decode=False))

    return await _rate(take, clock)


async def _rate(move: Callable[[int], Awaitable[None]], clock: Clock) -> float | None:
    """Move more and more, as long as the next amount can be expected to take no longer than ENOUGH."""
    rate: float | None = None
    for amount in AMOUNTS:
        if rate is not None and amount * 8 / rate > ENOUGH:
            break
        began = clock.monotonic()
        try:
            async with asyncio.timeout(STALLED):
                await move(amount)
        except (TimeoutError, ConnectionClosed):
            return None
        rate = amount * 8 / max(clock.monotonic() - began, 1e-6)
    return rate
