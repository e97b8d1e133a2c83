"""This file is the console's end of tunnels inside WebSockets: bytes to and from a port of its own, and nothing more.

Who calls is not known here at first: the port behind asks for a certificate or a key, as it does of everybody. Whoever
has shown one is *proven*. Those who have not are few, of one network fewer, and not for long: they push nobody out who
has. The ports behind are told the address that a caller really has, for all they see is our own.

::

    binary message <=> bytes of a TCP connection over loopback; an empty message <=> its end in that direction
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, WSMsgType, web

from gateway.kit.errors import GatewayError, Remedy

SUBPROTOCOL = "pcg.nested.v1"
MOST = {"tunnel": 4000, "api": 400}
"""At a time, by what is wanted inside: an appliance has two, commands and data."""
UNPROVEN, UNPROVEN_EACH = 400, 100
"""Of those, such as nobody answers for yet: in all, and of one network. Behind a load balancer all are of one."""
PIECE = 64 * 1024
MESSAGE_LIMIT = 256 * 1024
FIRST_LIMIT = 10.0
"""Seconds in which the first bytes have to come."""
PROOF_LIMIT = 60.0
"""Seconds in which somebody has to answer for it."""
IDLE_LIMIT = 120.0
"""Seconds in which some have to come after that, either way: a tunnel that lives is never silent for so long."""
LINGER = 30.0
REMEMBERED = 60.0
"""Seconds that the address of a caller who has gone is known: what it has asked for may still be on its way."""
END = b""

Peer = tuple[str, int]
"""Address and port of a TCP connection's other end."""


class TooManyNestedError(GatewayError):
    """Too many tunnels inside WebSockets are open."""

    code = "console.too_many_nested"
    remedy = Remedy.RETRY


class AlreadyInsideError(GatewayError):
    """A caller from inside a WebSocket asks for what is for callers from outside."""

    code = "console.already_inside"
    remedy = Remedy.CALLER


@dataclass(eq=False, slots=True)
class Seat:
    """The place of one caller."""

    address: str
    network: str
    proven: bool = False


@dataclass(slots=True)
class Nested:
    """The open ones. `doors` are the ports of the console that may be asked for."""

    doors: dict[str, tuple[str, int]] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=lambda: MOST)
    unproven: int = UNPROVEN
    unproven_each: int = UNPROVEN_EACH
    first_limit: float = FIRST_LIMIT
    idle_limit: float = IDLE_LIMIT
    _sockets: set[web.WebSocketResponse] = field(default_factory=set)
    _taken: "Counter[str]" = field(default_factory=Counter)
    _unproven: "Counter[str]" = field(default_factory=Counter)
    _inside: dict[Peer, Seat] = field(default_factory=dict)

    @contextmanager
    def seat(self, address: str, inner: str) -> Iterator[Seat]:
        """Take a place while the body runs. Raises TooManyNestedError."""
        seat = Seat(address, network_of(address))
        strangers, of_this = self._unproven.total(), self._unproven[seat.network]
        if self._taken[inner] >= self.most[inner] or strangers >= self.unproven or of_this >= self.unproven_each:
            raise TooManyNestedError("too many tunnels inside WebSockets are open: try again in a minute")
        self._taken[inner] += 1
        self._unproven[seat.network] += 1
        try:
            yield seat
        finally:
            self._taken[inner] -= 1
            self._is_proven(seat)

    def proves(self, peer: Peer) -> None:
        """Take note that whoever calls one of the doors from there has shown who it is."""
        seat = self._inside.get(peer[:2])
        if seat is not None:
            self._is_proven(seat)

    def outside(self, peer: Peer) -> str | None:
        """Return the address of whoever calls one of the doors from there; None when it is not inside a WebSocket."""
        seat = self._inside.get(peer[:2])
        return seat.address if seat is not None else None

    def _is_proven(self, seat: Seat) -> None:
        if not seat.proven:
            seat.proven = True
            self._unproven[seat.network] -= 1
            self._unproven += Counter()  # forgets who has none

    async def carry(self, outer: web.WebSocketResponse, inner: str, seat: Seat) -> None:
        """Join an open WebSocket with one of the doors until both directions have ended, or either is cut.

        Raises OSError (a TimeoutError when nothing moves).
        """
        host, port = self.doors[inner]
        self._sockets.add(outer)
        try:
            reader, writer = await asyncio.open_connection(host, port, limit=PIECE)
            ours: Peer = writer.get_extra_info("sockname")[:2]
            self._inside[ours] = seat
            try:
                await _Joined(outer, reader, writer, seat, self.idle_limit).run(self.first_limit)
            finally:
                asyncio.get_running_loop().call_later(REMEMBERED, self._forget, ours, seat)
                writer.transport.abort()
                with suppress(OSError):
                    await writer.wait_closed()
        finally:
            self._sockets.discard(outer)

    def _forget(self, ours: Peer, seat: Seat) -> None:
        if self._inside.get(ours) is seat:  # the port may be another caller's by now
            del self._inside[ours]

    async def close(self) -> None:
        """End them all: the console stops."""
        for outer in list(self._sockets):
            await outer.close(code=WSCloseCode.GOING_AWAY, message=b"the console stops")


@dataclass(slots=True)
class _Joined:
    outer: web.WebSocketResponse
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seat: Seat
    idle_limit: float
    prove_by: float = field(default_factory=lambda: asyncio.get_running_loop().time() + PROOF_LIMIT)
    _limit: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))

    async def run(self, first_limit: float) -> None:
        try:
            async with self._limit, asyncio.TaskGroup() as both:
                self._within(first_limit)
                ways = [both.create_task(self._in()), both.create_task(self._out())]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                async with asyncio.timeout(LINGER):
                    await asyncio.wait(ways)
        except* OSError as several:
            raise several.exceptions[0] from several
        await self.outer.close()

    async def _in(self) -> None:
        while piece := await self._heard():
            self.writer.write(piece)
            await self.writer.drain()
            self._within(self.idle_limit)
        self.writer.write_eof()

    async def _heard(self) -> bytes:
        message = await self.outer.receive()
        if message.type is not WSMsgType.BINARY:
            raise ConnectionResetError("the WebSocket was closed, or says what is no bytes")
        piece: bytes = message.data
        return piece

    async def _out(self) -> None:
        while piece := await self.reader.read(PIECE):
            await self.outer.send_bytes(piece)
            self._within(self.idle_limit)
        await self.outer.send_bytes(END)

    def _within(self, seconds: float) -> None:
        if self._limit.when() is None or not self._limit.expired():
            when = asyncio.get_running_loop().time() + seconds
            self._limit.reschedule(when if self.seat.proven else min(when, self.prove_by))


def network_of(address: str) -> str:
    """Return what stands for whoever has an address: an IPv4 one itself, of IPv6 the /64 that one customer gets."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))
