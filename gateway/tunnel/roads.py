"""This file is how a TCP connection to the console is made when nothing stands between.

A road gives a connected socket and knows nothing of TLS or WebSockets; whoever takes it closes it. The other roads are
in proxies.py and nested.py.
"""

import asyncio
import socket
from dataclasses import dataclass
from typing import Protocol

import aiohappyeyeballs

from gateway.kit.errors import GatewayError, Remedy

CONNECT_LIMIT = 15.0
NEXT_ADDRESS = 0.25
"""Seconds a next address waits for the one before it (RFC 8305, "Connection Attempt Delay")."""

NOT_SENT = 1024 * 1024
"""Bytes the kernel takes before it has sent them; what keeps queues short is the in-flight cap."""
UNACKNOWLEDGED = 30_000


class DialError(GatewayError):
    """The console could not be called."""

    code = "tunnel.dial"
    remedy = Remedy.RETRY


class Road(Protocol):
    """A way to a host and port."""

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a connected, non-blocking stream socket that the caller closes. Raises DialError."""


@dataclass(frozen=True, slots=True)
class Direct:
    """Straight to the host: each of its addresses is tried, the next a moment after the one before."""

    limit: float = CONNECT_LIMIT

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a connected socket. Raises DialError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.limit):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                connected = await aiohappyeyeballs.start_connection(
                    found, happy_eyeballs_delay=NEXT_ADDRESS, interleave=1
                )
        except socket.gaierror as fault:
            raise DialError(f"the name {host} cannot be resolved: {fault.strerror}; look at the name server") from fault
        except TimeoutError as fault:
            raise DialError(f"{host} port {port} does not answer within {self.limit:.0f} seconds") from fault
        except (OSError, UnicodeError) as fault:
            raise DialError(f"{host} port {port} cannot be reached: {fault}") from fault
        tune(connected)
        return connected


def tune(connection: socket.socket) -> None:
    """Set the options of a TCP connection that carries a tunnel, as far as the system has them.

    SO_SNDBUF is left alone, on purpose: to set it turns the kernel's own tuning off, and 256 KiB would bound one
    connection to 20 Mbit/s at 100 ms. What a small buffer is wanted for, that little waits unsent behind what is
    already on its way, TCP_NOTSENT_LOWAT does at any speed; 64 KiB of it cost half the throughput on a fast road.
    """
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return  # the inside of a nested connection
    wished = (("TCP_NODELAY", 1), ("TCP_NOTSENT_LOWAT", NOT_SENT), ("TCP_USER_TIMEOUT", UNACKNOWLEDGED))
    for name, value in wished:
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
