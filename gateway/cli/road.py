"""This file is the user's tunnel to the console: opened, and opened again whenever it ends.

A tunnel that is going away keeps the streams it has, and a new one is opened beside it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from gateway.kit.backoff import Backoff
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.session import Session

FIRST_PAUSE = 0.25
CAP = 15.0
STABLE = 10.0
DRAIN_LIMIT = 600.0
FINAL = range(400, 429)
"""Answers of the console that another try does not change."""

Dial: TypeAlias = Callable[[], AbstractAsyncContextManager[Session]]


class Watcher(Protocol):
    """Who is told about the tunnel."""

    def connected(self) -> None:
        """The tunnel is open."""

    def disconnected(self, fault: GatewayError) -> None:
        """The tunnel is not open, for this reason."""


class NoTunnelError(GatewayError):
    """There is no tunnel to the console now."""

    code = "cli.no_tunnel"
    remedy = Remedy.RETRY


@dataclass(slots=True)
class Road:
    """The tunnel. `check` asks the console whether the tunnel is allowed at all, and raises when it is not."""

    dial: Dial
    check: Callable[[], Awaitable[None]]
    watcher: Watcher
    clock: Clock
    _session: Session | None = None
    _there: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Keep the tunnel open. Raises what `check` raises once the console will not have it."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._kept(group)
        except* GatewayError as several:
            raise several.exceptions[0] from None

    async def session(self, *, within: float) -> Session:
        """Return the tunnel, waiting for it. Raises NoTunnelError."""
        try:
            async with asyncio.timeout(within):
                while self._session is None or self._session.going_away.is_set():
                    self._there.clear()
                    await self._there.wait()
        except TimeoutError as fault:
            raise NoTunnelError(f"there was no tunnel to the console within {within:g} s") from fault
        return self._session

    async def _kept(self, group: asyncio.TaskGroup) -> None:
        backoff = Backoff(random.random, cap=CAP, stable=STABLE)
        while True:
            began = self.clock.monotonic()
            fault = await self._opened_until_it_ends(group)
            backoff.succeeded_for(self.clock.monotonic() - began)
            self.watcher.disconnected(fault)
            if fault.facts.get("status") in FINAL:
                await self.check()
            at_least = float(fault.facts.get("retry_after") or 0.0)
            await self.clock.sleep(max(at_least, FIRST_PAUSE + backoff.next_delay()))

    async def _opened_until_it_ends(self, group: asyncio.TaskGroup) -> GatewayError:
        left: asyncio.Future[GatewayError] = asyncio.get_running_loop().create_future()
        group.create_task(self._one(left), name="tunnel")
        return await left

    async def _one(self, left: "asyncio.Future[GatewayError]") -> None:
        """Have one tunnel, until it ends; `left` is told when it takes no more streams."""
        try:
            async with self.dial() as session:
                self._session = session
                self._there.set()
                self.watcher.connected()
                await session.going_away.wait()
                if session.streams:
                    left.set_result(NoTunnelError("the tunnel goes away: another is opened"))
                    await _done(session)
                else:
                    left.set_result(await _done(session))
        except GatewayError as fault:
            if not left.done():
                left.set_result(fault)


async def _done(session: Session) -> GatewayError:
    try:
        async with asyncio.timeout(DRAIN_LIMIT):
            return await session.closed()
    except TimeoutError:
        return NoTunnelError("the tunnel had to go away")
