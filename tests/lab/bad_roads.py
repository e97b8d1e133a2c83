"""This file is a bad road between an appliance and its console: real namespaces, a NAT, and a wire that can be spoiled.

::

    NEAR  10.213.1.2 ---[ wire ]--- 10.213.1.1  MIDDLE: NAT  10.213.2.1 --- 10.213.2.2  FAR
    appliance            delay, loss, largest                              console

The wire hands on frames between two interfaces. Everything else is the kernel's: TCP, its retries, the NAT.
"""

import asyncio
import os
import random
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from gateway.kit import supervise
from gateway.kit.backoff import Backoff
from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError
from gateway.tunnel.channel import Channel, ChannelClosedError
from gateway.tunnel.dataline import dial_data
from gateway.tunnel.dialer import dial
from gateway.tunnel.session import Session
from tests.fakes.ends import Ends
from tests.lab.namespaces import RoadFrom, inside, ip

MESSAGE_LIMIT = 64 * 1024
NEAR, BETWEEN, MIDDLE, FAR = (f"bad-{name}-{os.getpid()}" for name in ("near", "between", "middle", "far"))
CONSOLE = "10.213.2.2"
OUTSIDE, OTHER_OUTSIDE = "10.213.2.1", "10.213.2.9"
"""The address that the NAT shows to the console, and the one that it shows after it has moved."""
LINKS = (
    (NEAR, "near", BETWEEN, "one", "10.213.1.2", None),
    (BETWEEN, "other", MIDDLE, "inner", None, "10.213.1.1"),
    (MIDDLE, "outer", FAR, "far", OUTSIDE, CONSOLE),
)
ETHERNET, VIRTIO = 14, 10
"""Bytes of header: that of a frame, and in front of it the one that says who computes its checksum."""
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 15, 23, 3
LONGEST_FRAME = 68 * 1024


@contextmanager
def namespaces() -> Iterator[None]:
    """Have the namespaces and the links between them for the body."""
    try:
        for name in (NEAR, BETWEEN, MIDDLE, FAR):
            ip("netns", "add", name)
        for one, its, other, others, address, far_address in LINKS:
            ip("link", "add", its, "netns", one, "type", "veth", "peer", "name", others, "netns", other)
            for where, link, at in ((one, its, address), (other, others, far_address)):
                # One segment a frame: what is lost is a packet, and not sixty kilobytes.
                ip("-n", where, "link", "set", link, "gso_max_segs", "1", "up")
                if at is not None:
                    ip("-n", where, "address", "add", f"{at}/24", "dev", link)
        ip("-n", NEAR, "route", "add", "default", "via", "10.213.1.1")
        in_the_middle("sysctl", "-qw", "net.ipv4.ip_forward=1")
        in_the_middle("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "outer", "-j", "MASQUERADE")
        yield
    finally:
        for name in (NEAR, BETWEEN, MIDDLE, FAR):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def in_the_middle(*command: str) -> None:
    """Run a program where the NAT is."""
    ip("netns", "exec", MIDDLE, *command)


def move_the_nat(*, silent: bool) -> None:
    """Have the NAT forget every connection and show another address; a silent one drops what it does not know."""
    if silent:
        in_the_middle("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")
        in_the_middle("iptables", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
    ip("-n", MIDDLE, "address", "add", f"{OTHER_OUTSIDE}/24", "dev", "outer")
    ip("-n", MIDDLE, "address", "delete", f"{OUTSIDE}/24", "dev", "outer")
    ip("-n", MIDDLE, "address", "replace", f"{OTHER_OUTSIDE}/24", "dev", "outer")


@dataclass
class Wire:
    """Hands each frame on, if it is not lost, `delay` seconds later."""

    delay: float = 0.0
    loss: float = 0.0
    largest: int = LONGEST_FRAME
    """Bytes of an IP packet; a larger one vanishes, and nobody is told."""
    swallowed: int = 0
    _chance: random.Random = field(default_factory=lambda: random.Random(31))

    @contextmanager
    def laid(self) -> Iterator[None]:
        """Carry frames while the body runs."""
        loop = asyncio.get_running_loop()
        with inside(BETWEEN):
            one, other = _tap("one"), _tap("other")
        with one, other:
            for source, onward in ((one, other), (other, one)):
                loop.add_reader(source, self._carry, source, onward)
            try:
                yield
            finally:
                for each in (one, other):
                    loop.remove_reader(each)

    def _carry(self, source: socket.socket, onward: socket.socket) -> None:
        while True:
            try:
                frame = source.recv(LONGEST_FRAME)
            except OSError:
                return
            if len(frame) - VIRTIO - ETHERNET > self.largest or self._chance.random() < self.loss:
                self.swallowed += 1
            elif self.delay:
                asyncio.get_running_loop().call_later(self.delay, _hand, onward, frame)
            else:
                _hand(onward, frame)


def _hand(onward: socket.socket, frame: bytes) -> None:
    try:
        onward.send(frame)
    except OSError:
        return  # a full queue, or the test is over: a road may lose anything


def _tap(interface: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    for option in (PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING):
        made.setsockopt(SOL_PACKET, option, 1)
    made.bind((interface, ETH_P_ALL))
    made.setblocking(False)
    return made


@dataclass
class Caller:
    """A data session and a command channel out of NEAR that are called again as often as they are lost."""

    ends: Ends
    url: str
    sessions: asyncio.Queue[Session] = field(default_factory=asyncio.Queue)
    channels: asyncio.Queue[Channel] = field(default_factory=asyncio.Queue)
    heard: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    calls: dict[str, int] = field(default_factory=lambda: {"session": 0, "channel": 0})
    lost: dict[str, list[float]] = field(default_factory=lambda: {"session": [], "channel": []})
    """When each was found lost, by the loop's clock."""

    async def run(self) -> None:
        """Keep both until cancelled, as the appliance does."""
        async with asyncio.TaskGroup() as group:
            for name, once in (("session", self._session), ("channel", self._channel)):
                group.create_task(self._keep(name, once))

    async def _keep(self, name: str, once: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(random.SystemRandom().random, first=0.2, cap=1.0)
        await supervise.keep_running(name, partial(self._counted, name, once), clock=SystemClock(), backoff=backoff)

    async def _counted(self, name: str, once: Callable[[], Awaitable[None]]) -> None:
        self.calls[name] += 1
        await once()

    async def _session(self) -> None:
        tls = self.ends.client
        tls.check_hostname = False
        async with dial_data(self.url, tls=tls, road=RoadFrom(NEAR)) as session:
            self.sessions.put_nowait(session)
            why = await session.closed()
            self._is_lost("session")
            raise why

    async def _channel(self) -> None:
        tls = self.ends.client
        tls.check_hostname = False
        async with dial(self.url, tls=tls, message_limit=MESSAGE_LIMIT, road=RoadFrom(NEAR)) as channel:
            self.channels.put_nowait(channel)
            try:
                while True:
                    self.heard.put_nowait(await channel.receive())
            except ChannelClosedError:
                self._is_lost("channel")
                raise

    def _is_lost(self, name: str) -> None:
        self.lost[name].append(asyncio.get_running_loop().time())


@dataclass
class Taker:
    """What the console's end notes: when each connection that it had taken was over, by the loop's clock."""

    lost: dict[str, list[float]] = field(default_factory=lambda: {"session": [], "channel": []})

    async def on_session(self, session: Session, _path: str) -> None:
        await session.closed()
        self._is_lost("session")

    async def on_channel(self, channel: Channel) -> None:
        try:
            while True:
                await channel.send(await channel.receive())
        except GatewayError:
            self._is_lost("channel")

    def _is_lost(self, name: str) -> None:
        self.lost[name].append(asyncio.get_running_loop().time())
