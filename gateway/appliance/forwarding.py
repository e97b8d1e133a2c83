"""This file is the audit log's way to other places: each reads along by itself, and none can hold up the log.

::

    audit.log ── read along ── syslog (UDP, TCP, TLS) ── audit.sent.syslog, the number of the last line that went out
              └─ read along ── a file ────────────────── audit.sent.file

A place that is away gets what it has missed when it is back, as long as the log keeps it; what it does not keep any
more is counted, and said in the log itself. The last lines may come twice: each has its number.
"""

import asyncio
import errno
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from gateway.appliance.audit import AuditLog, AuditNotWrittenError
from gateway.appliance.following import Follower
from gateway.appliance.settings import ApplianceSettings
from gateway.audit import exports, syslog
from gateway.audit.lines import Act
from gateway.audit.syslog import Address
from gateway.kit import files, supervise
from gateway.kit.backoff import Backoff
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

LOOK_EVERY: Final = 0.5
PATIENCE: Final = 20.0
"""Seconds in which a place has to take what it is sent."""
CLOSED_WITHIN: Final = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

Send = Callable[[Sequence[bytes]], Awaitable[int]]
"""Sends lines, and returns how many of them can never be sent. Raises PlaceAwayError."""

log = structlog.get_logger(__name__)


class PlaceAwayError(GatewayError):
    """A place that the audit log is forwarded to does not take it now."""

    code = "audit.place_away"
    remedy = Remedy.RETRY


@dataclass(frozen=True, slots=True)
class Place:
    """Where lines go to, and under what name it is remembered how many have gone."""

    name: str
    opened: Callable[[], AbstractAsyncContextManager[Send]]


def parts(settings: ApplianceSettings, audit: AuditLog, *, clock: Clock) -> dict[str, Coroutine[Any, Any, None]]:
    """Return what forwards the log as the settings say, to be run side by side."""
    places = []
    if settings.audit_syslog is not None:
        where, trust = syslog.address(settings.audit_syslog), settings.audit_syslog_trust
        places.append(Place("syslog", lambda: to_syslog(where, trust=trust, host=socket.gethostname())))
    if (path := settings.audit_file) is not None:
        places.append(Place("file", lambda: to_file(path)))
    return {f"audit-{one.name}": keep_forwarding(settings.state, audit, one, clock=clock) for one in places}


async def keep_forwarding(state: Path, audit: AuditLog, place: Place, *, clock: Clock) -> None:
    """Forward the log to a place until cancelled, calling it again after each failure."""
    backoff = Backoff(random.SystemRandom().random, first=FIRST_PAUSE, cap=LONGEST_PAUSE)
    name = f"audit-{place.name}"
    await supervise.keep_running(name, lambda: forward(state, audit, place, clock=clock), clock=clock, backoff=backoff)


async def forward(state: Path, audit: AuditLog, place: Place, *, clock: Clock) -> None:
    """Forward the log until something fails. Raises PlaceAwayError or AuditUnreadableError."""
    cursor = state / f"audit.sent.{place.name}"
    follower = Follower(audit, after=await asyncio.to_thread(_sent, cursor))
    async with place.opened() as send:
        while True:
            bite = await asyncio.to_thread(follower.read)
            dropped = bite.missed + (await send(bite.lines) if bite.lines else 0)
            if dropped:
                await asyncio.to_thread(_tell, audit, place.name, dropped)
            if bite.lines or bite.missed:
                await asyncio.to_thread(files.write_whole, cursor, f"{bite.last}\n".encode())
            else:
                await clock.sleep(LOOK_EVERY)


def to_syslog(where: Address, *, trust: Path | None, host: str) -> AbstractAsyncContextManager[Send]:
    """Open the way to a collector; `host` is what this machine is called in each message."""
    return _datagrams(where, host) if where.transport == "udp" else _connection(where, trust, host)


@asynccontextmanager
async def to_file(path: Path) -> AsyncIterator[Send]:
    """Open the way to a file, which is opened anew each time, so that others may rotate it."""

    async def send(lines: Sequence[bytes]) -> int:
        try:
            await asyncio.to_thread(_append, path, b"".join(map(exports.line, lines)))
        except OSError as fault:
            raise PlaceAwayError(f"{path} cannot be written: {fault.strerror or fault}") from fault
        return 0

    yield send


@asynccontextmanager
async def _connection(where: Address, trust: Path | None, host: str) -> AsyncIterator[Send]:
    try:
        context = (
            await asyncio.to_thread(ssl.create_default_context, cafile=trust) if where.transport == "tls" else None
        )
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(where.host, where.port, ssl=context)
        writer.transport.set_write_buffer_limits(high=0)  # `drain` then waits until the kernel has all of it
    except (OSError, TimeoutError) as fault:
        raise _away(where, fault) from fault

    async def send(lines: Sequence[bytes]) -> int:
        if reader.at_eof():
            raise PlaceAwayError(f"{where.host} port {where.port} has hung up")
        try:
            async with asyncio.timeout(PATIENCE):
                writer.writelines(syslog.counted(syslog.message(line, host=host)) for line in lines)
                await writer.drain()
        except (OSError, TimeoutError) as fault:
            raise _away(where, fault) from fault
        return 0

    try:
        yield send
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSED_WITHIN):
                await writer.wait_closed()
        writer.transport.abort()


class _Errors(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.seen: list[OSError] = []

    def error_received(self, exc: Exception) -> None:
        """Keep what the system says of a datagram."""
        if isinstance(exc, OSError):
            self.seen.append(exc)


@asynccontextmanager
async def _datagrams(where: Address, host: str) -> AsyncIterator[Send]:
    try:
        transport, errors = await asyncio.get_running_loop().create_datagram_endpoint(
            _Errors, remote_addr=(where.host, where.port)
        )
    except OSError as fault:
        raise _away(where, fault) from fault

    async def send(lines: Sequence[bytes]) -> int:
        for line in lines:
            transport.sendto(syslog.message(line, host=host))
        await asyncio.sleep(0)
        seen, errors.seen = errors.seen, []
        away = next((one for one in seen if one.errno != errno.EMSGSIZE), None)
        if away is not None:
            raise _away(where, away)
        return len(seen)

    try:
        yield send
    finally:
        transport.close()


def _away(where: Address, fault: Exception) -> PlaceAwayError:
    said = getattr(fault, "strerror", None) or str(fault) or "it takes too long"
    return PlaceAwayError(f"{where.host} port {where.port} does not take the audit log: {said}")


def _append(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, files.PRIVATE_FILE)
    try:
        before = os.fstat(handle).st_size
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)


def _sent(cursor: Path) -> int:
    try:
        return int(cursor.read_bytes())
    except (OSError, ValueError):
        return 0


def _tell(audit: AuditLog, name: str, dropped: int) -> None:
    log.warning("lines of the audit log were dropped on their way", place=name, lines=dropped)
    try:
        audit.append([Act("audit.dropped", "failed", {"place": name, "lines": dropped})])
    except AuditNotWrittenError as fault:
        log.warning("audit log cannot be written", error=fault.message)
