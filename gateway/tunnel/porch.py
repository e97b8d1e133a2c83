"""This file is what stands before the console's tunnel port: how many callers may be opening TLS at a time.

TLS costs whoever answers more than whoever calls, and nobody has shown a certificate yet. So of one network only some
are let on, and in all no more than this end can bear; the rest is cut at once, and calls again.

::

    TCP accepted ── enough of them open TLS already ──> cut
         └── on the porch: TLS, within its limit ──> the connection that was meant
"""

import asyncio
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast

MOST, MOST_EACH = 400, 100
"""Callers that open TLS at a time: in all, and of one IPv4 address or IPv6 /64."""


@dataclass(slots=True)
class Porch:
    """Who is opening TLS. This machine itself counts in all only: whom it carries in, somebody has let on before."""

    most: int = MOST
    most_each: int = MOST_EACH
    _opening: "Counter[str]" = field(default_factory=Counter)

    def enters(self, address: str) -> bool:
        """Take note of a caller; False when there are enough."""
        network, local = _network(address)
        if self._opening.total() >= self.most or (self._opening[network] >= self.most_each and not local):
            self._opening += Counter()
            return False
        self._opening[network] += 1
        return True

    def leaves(self, address: str) -> None:
        """Take note that a caller has opened TLS, or will not."""
        self._opening[_network(address)[0]] -= 1
        self._opening += Counter()  # a network of which nobody is left is forgotten


@dataclass(slots=True)
class Opening:
    """How TLS is opened on the porch; leaving cuts whoever is still at it."""

    tls: ssl.SSLContext
    limit: float
    close_limit: float
    porch: Porch
    _group: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        # Not told of the body's error: a group would wrap it, and no caller is to blame for it.
        await self._group.__aexit__(None, None, None)

    def begin(self, opened: Coroutine[Any, Any, None]) -> None:
        """Have a caller's TLS opened."""
        task = self._group.create_task(opened, name="opening TLS")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Doorway(asyncio.Protocol):
    """A caller from the first moment until it has opened TLS; then `inside` has the connection."""

    def __init__(self, inside: asyncio.Protocol, opening: Opening) -> None:
        self._inside = inside
        self._opening = opening

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let a caller on, or cut it before it has cost anything."""
        plain = cast("asyncio.Transport", transport)
        address = str((plain.get_extra_info("peername") or ("unknown",))[0])
        if not self._opening.porch.enters(address):
            plain.abort()
            return
        plain.pause_reading()
        shown: socket.socket = plain.get_extra_info("socket")
        # The loop opens TLS faster on a socket of its own than on a transport; this one has read nothing yet.
        taken = socket.fromfd(shown.fileno(), shown.family, shown.type)
        plain.abort()
        self._opening.begin(self._open(taken, address))

    async def _open(self, taken: socket.socket, address: str) -> None:
        given = self._opening
        taken.settimeout(0)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._inside,
                taken,
                ssl=given.tls,
                ssl_handshake_timeout=given.limit,
                ssl_shutdown_timeout=given.close_limit,
            )
        except OSError:  # TimeoutError and SSLError are such, too
            taken.close()
        except BaseException:
            taken.close()
            raise
        finally:
            given.porch.leaves(address)


def _network(address: str) -> tuple[str, bool]:
    """Return what stands for whoever has an address, and whether it is this machine."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address, False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((found, 64), strict=False)), found.is_loopback
    plain = found if isinstance(found, ipaddress.IPv4Address) else found.ipv4_mapped
    return str(plain), bool(plain and plain.is_loopback)
