"""This file is watching events: server-sent events, read from the database, resumed at any position.

A stream is a reader with a position and nothing else. So a slow client fills no memory here, and one that was cut
off, even by the console's own restart, misses nothing and sees nothing twice.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web

from gateway.console.api import watchers
from gateway.console.api.models import InProject, Nothing, WatchedEvent, WatchEvents
from gateway.console.api.problems import RequestInvalidError
from gateway.console.api.routes import Call
from gateway.console.bells import rung
from gateway.console.records import StoredEvent
from gateway.console.store import events
from gateway.console.store.events import Watched
from gateway.contract.problems import Fault
from gateway.kit.errors import GatewayError

log = structlog.get_logger(__name__)

BATCH = 100
STUCK = 60.0
"""Seconds after which a client that takes nothing is let go."""

HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def watch_project(call: Call[InProject, WatchEvents, Nothing]) -> web.StreamResponse:
    """Watch the events of a project."""
    return await _watch(call)


async def watch_tenant(call: Call[Nothing, WatchEvents, Nothing]) -> web.StreamResponse:
    """Watch the events of all projects, and those that concern a gateway only."""
    return await _watch(call)


async def _watch(call: Call[Any, WatchEvents, Any]) -> web.StreamResponse:
    position = _resumed_from(call)
    hall = call.rooms.watchers
    with hall.seat(), hall.bells.listening(call.scope.tenant) as bell:
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(call.request)
        try:
            await _streamed(_Stream(call, response, position), bell, hall)
        except (ConnectionError, TimeoutError):
            _cut(call)
        except Exception as fault:
            # The answer has begun, so there can be no other: the client sees a cut, and resumes where it was.
            code = fault.code if isinstance(fault, GatewayError) else None
            log.warning("event stream broken off", code=code, exc_info=code is None)
            _cut(call)
    return response


async def _streamed(stream: "_Stream", bell: asyncio.Event, hall: watchers.Watchers) -> None:
    await stream.write(b": watching\n\n")
    while not hall.closing:
        await stream.recheck()
        if await stream.send_next():
            continue
        # Bells may ring all the time for what this watcher does not see: what counts is when it was last written to.
        quiet = watchers.HEARTBEAT - stream.silence
        if quiet <= 0:
            await stream.write(b": still here\n\n")
        else:
            await rung(bell, within=quiet)


def _cut(call: Call[Any, WatchEvents, Any]) -> None:
    if call.request.transport is not None:
        call.request.transport.abort()


@dataclass(slots=True)
class _Stream:
    call: Call[Any, WatchEvents, Any]
    response: web.StreamResponse
    position: int
    wrote_at: float = 0.0
    checked_at: float = 0.0

    @property
    def silence(self) -> float:
        """Seconds since something was last written."""
        return self.call.rooms.clock.monotonic() - self.wrote_at

    async def recheck(self) -> None:
        """Look now and then whether the key is still good: a watch may outlive it. Raises NotSignedInError."""
        now = self.call.rooms.clock.monotonic()
        if now - self.checked_at >= watchers.HEARTBEAT:
            await self.call.rooms.doorkeeper.recheck(self.call.caller)
            self.checked_at = now

    async def send_next(self) -> bool:
        """Send the next events; tell whether there may be more at once."""
        watched = Watched(self.call.query.cluster, self.call.query.command)
        async with self.call.rooms.store.reading(self.call.scope) as rows:
            last = await events.last_position(rows)
            found = await events.after(rows, self.position, watched=watched, limit=BATCH)
        if found:
            await self.write("".join(_framed(event) for event in found).encode())
            self.position = found[-1].position
        if len(found) == BATCH:
            return True
        # Positions become visible in order: what the filter has left out up to `last` need not be looked at again.
        self.position = max(self.position, last)
        return False

    async def write(self, data: bytes) -> None:
        async with asyncio.timeout(STUCK):
            await self.response.write(data)
        self.wrote_at = self.call.rooms.clock.monotonic()


def _resumed_from(call: Call[Any, WatchEvents, Any]) -> int:
    said = call.request.headers.get("Last-Event-ID")
    if said is None:
        return call.query.after
    if not said.isascii() or not said.isdigit() or len(said) > 18:
        message = "Last-Event-ID is the id of an event of this stream, a whole number"
        raise RequestInvalidError(message, (Fault(where=["Last-Event-ID"], message=message),))
    return int(said)


def _framed(event: StoredEvent) -> str:
    if event.body is None:
        return f"id: {event.position}\n: an event that cannot be read any more\n\n"
    shown = WatchedEvent(
        position=event.position,
        at=event.at,
        gateway=event.gateway_name,
        cluster=event.cluster_name,
        command_id=event.command,
        number=event.number,
        body=event.body,
    )
    # JSON has no raw line breaks, so one data line is enough.
    return f"id: {event.position}\nevent: {event.body.type}\ndata: {shown.model_dump_json()}\n\n"
