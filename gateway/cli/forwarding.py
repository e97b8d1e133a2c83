"""This file is a local port whose connections reach a target behind a gateway.

::

    local connection -> the tunnel is waited for, not for long -> a stream is asked for -> joined until both have ended
                                                                -> refused: told, and closed at once
"""

import asyncio
import errno
import socket
from dataclasses import dataclass
from typing import Protocol

from gateway.cli.road import Road, Watcher
from gateway.contract import streams as contract
from gateway.contract.problems import Problem, RelayedError
from gateway.contract.streams import StreamReply, UserPreamble
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.schedule import Lane
from gateway.tunnel.splice import splice
from gateway.tunnel.stream import Stream

HOST = "127.0.0.1"
WAIT = 15.0
"""Seconds that a local connection waits for the tunnel."""
OPEN_LIMIT = 25.0
"""Seconds the console has to answer; it gives the appliance fifteen of them."""
TRIES = 3
BREATH = 0.2
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
PASSING = {errno.ECONNABORTED, errno.EPROTO}


class StreamRefusedError(RelayedError):
    """The console or the appliance refuses the stream."""

    code = "cli.stream_refused"

    def __init__(self, reply: StreamReply) -> None:
        message = reply.detail or "the stream was refused, and no reason given"
        super().__init__(Problem(code=reply.code or self.code, message=message, remedy=reply.remedy or Remedy.OPERATOR))


class LocalPortError(GatewayError):
    """The local port cannot be had."""

    code = "cli.local_port"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class Carried:
    """What went through one connection. `fault` is why it was cut, if it was."""

    sent: int
    received: int
    seconds: float
    fault: str | None


class Teller(Watcher, Protocol):
    """Who is told what happens."""

    def listening(self, port: int) -> None:
        """The local port is open."""

    def opened(self, number: int) -> None:
        """A connection has reached the target."""

    def refused(self, number: int, fault: GatewayError) -> None:
        """A connection was not let through."""

    def closed(self, number: int, carried: Carried) -> None:
        """A connection is over."""


def listening(port: int) -> socket.socket:
    """Return a socket that listens on this machine only; 0 takes a free port. Raises LocalPortError."""
    try:
        listener = socket.create_server((HOST, port), backlog=128)
    except OSError as fault:
        raise LocalPortError(
            f"cannot listen on {HOST} port {port}: {fault.strerror or fault}; choose another port, or leave it out",
            port=port,
        ) from fault
    listener.settimeout(0)
    return listener


@dataclass(slots=True)
class Forwarding:
    """The connections of one local port."""

    wish: UserPreamble
    road: Road
    teller: Teller
    clock: Clock

    async def run(self, listener: socket.socket) -> None:
        """Take connections, for ever."""
        self.teller.listening(listener.getsockname()[1])
        number = 0
        async with asyncio.TaskGroup() as group:
            while True:
                connection = await _next(listener)
                number += 1
                group.create_task(self._serve(number, connection), name=f"connection-{number}")

    async def _serve(self, number: int, connection: socket.socket) -> None:
        with connection:
            try:
                stream = await self._stream()
            except GatewayError as fault:
                self.teller.refused(number, fault)
                return
            await self._carry(number, stream, connection)

    async def _carry(self, number: int, stream: Stream, connection: socket.socket) -> None:
        began, sent, received = self.clock.monotonic(), stream.sent, stream.received
        fault: str | None = "stopped here"
        self.teller.opened(number)
        try:
            fault = (await splice(stream, connection)).fault
        except OSError as gone:
            fault = f"the local connection is gone: {gone.strerror or gone}"
            stream.reset()
        finally:
            seconds = self.clock.monotonic() - began
            self.teller.closed(number, Carried(stream.sent - sent, stream.received - received, seconds, fault))

    async def _stream(self) -> Stream:
        for last in (False,) * (TRIES - 1) + (True,):
            session = await self.road.session(within=WAIT)
            try:
                stream, said = await session.open(
                    contract.write(self.wish), lane=Lane(self.wish.lane), within=OPEN_LIMIT
                )
            except GatewayError:
                # A tunnel that ended just now has asked nobody; another will.
                if last or not session.going_away.is_set():
                    raise
                continue
            reply = contract.read_reply(said)
            if reply.status == "ok":
                return stream
            stream.reset()
            raise StreamRefusedError(reply)
        raise AssertionError("the last try returns or raises")


async def _next(listener: socket.socket) -> socket.socket:
    while True:
        try:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        except OSError as fault:
            if fault.errno not in FULL | PASSING:
                raise
            await asyncio.sleep(BREATH)
        else:
            connection.settimeout(0)
            return connection
