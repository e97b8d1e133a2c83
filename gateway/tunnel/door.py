"""This file is the console's tunnel port up to TLS: it listens, lets callers onto the porch and has TLS opened.

The loop's own server opens TLS for whoever calls, without a look at who it is and how many there are; and a transport
it has made cannot be begun anew: a second descriptor of its socket would keep the first one's events alive in the
kernel when its number is somebody else's. So connections are accepted here, and each socket gets its one transport.

::

    TCP accepted ── enough of them open TLS already ──> cut
         └── on the porch: TLS, within its limit ──> the connection that was meant
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import structlog

from gateway.tunnel.porch import Porch

log = structlog.get_logger(__name__)

AT_ONCE = 32
"""Callers that are accepted before the loop does something else."""
PAUSE = 1.0
"""Seconds without accepting when the system has no descriptor or no memory for one more connection."""
OF_ONE_CALLER = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.EPERM,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
    }
)
"""What accept() says of the one connection that it would have returned (accept(2), "Error handling")."""

NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@dataclass(frozen=True, slots=True)
class Lock:
    """How TLS is opened: with what, and the seconds that opening and closing it may take."""

    tls: ssl.SSLContext
    open_limit: float
    close_limit: float


@dataclass(slots=True)
class Door:
    """A listening port, for as long as the body runs; whoever has opened TLS becomes what `inside` makes.

    It is what a server of the `websockets` library asks of the loop's: to stop listening, and to wait until nobody is
    on the way in. Leaving cuts whoever is.
    """

    lock: Lock
    porch: Porch
    inside: Callable[[], asyncio.Protocol]
    sockets: tuple[socket.socket, ...] = ()
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _group: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    _fresh: set[socket.socket] = field(default_factory=set)
    _pauses: dict[socket.socket, asyncio.TimerHandle] = field(default_factory=dict)
    _is_short: bool = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
        # Not told of the body's error: a group would wrap it, and no caller is to blame for it.
        await self._group.__aexit__(None, None, None)

    async def listen(self, host: str, port: int) -> Self:
        """Begin to take callers. Raises OSError when the address cannot be had."""
        self.sockets = await _bound(self._loop, host, port)
        for one in self.sockets:
            self._resume(one)
        return self

    def is_serving(self) -> bool:
        """Whether callers are taken."""
        return bool(self.sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of whoever has opened the door."""
        return self._loop

    def close(self) -> None:
        """Take no more callers, and cut those that are opening TLS."""
        listening, self.sockets = self.sockets, ()
        for one in listening:
            self._loop.remove_reader(one)
            one.close()
        for pause in self._pauses.values():
            pause.cancel()
        for fresh in self._fresh:
            fresh.close()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until nobody is opening TLS."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _resume(self, listening: socket.socket) -> None:
        self._pauses.pop(listening, None)
        self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                taken, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as fault:
                if fault.errno in OF_ONE_CALLER:
                    continue
                self._pause(listening, fault)
                return
            self._meet(taken, str(address[0]))

    def _pause(self, listening: socket.socket, fault: OSError) -> None:
        """Accept nobody for a moment: callers wait in the kernel, and the loop would be told of them without end."""
        if not self._is_short:
            self._is_short = True
            log.error("callers cannot be accepted", error=str(fault))
        self._loop.remove_reader(listening)
        self._pauses[listening] = self._loop.call_later(PAUSE, self._resume, listening)

    def _meet(self, taken: socket.socket, address: str) -> None:
        if self._is_short:
            self._is_short = False
            log.info("callers are accepted again")
        if not self.porch.enters(address):
            taken.close()
            return
        taken.settimeout(0)
        self._fresh.add(taken)
        task = self._group.create_task(self._open(taken), name="opening TLS")
        self._tasks.add(task)
        task.add_done_callback(lambda _: self.porch.leaves(address))
        task.add_done_callback(self._tasks.discard)

    async def _open(self, taken: socket.socket) -> None:
        # From here on the socket is its transport's: that one closes it, and nobody before it has let go of it.
        self._fresh.discard(taken)
        try:
            await self._loop.connect_accepted_socket(
                self.inside,
                taken,
                ssl=self.lock.tls,
                ssl_handshake_timeout=self.lock.open_limit,
                ssl_shutdown_timeout=self.lock.close_limit,
            )
        except OSError as fault:  # TimeoutError and SSLError are such, too
            log.debug("a caller has not opened TLS", error=str(fault))
        except Exception:
            log.exception("TLS cannot be opened")


async def _bound(loop: asyncio.AbstractEventLoop, host: str, port: int) -> tuple[socket.socket, ...]:
    """Return what listens on each of the host's addresses that this machine has."""
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in dict.fromkeys((one[0], one[4]) for one in found):
        try:
            made.append(socket.create_server(address, family=family))
            made[-1].settimeout(0)
        except OSError as fault:
            missing = fault
            if fault.errno not in NOT_HERE:
                break
    else:
        if made:
            return tuple(made)
    for one in made:
        one.close()
    raise missing or OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
