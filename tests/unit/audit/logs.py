"""This file is audit logs that were signed, for tests that look at them or tamper with them."""

from pathlib import Path

from gateway.appliance.audit import AuditLog
from gateway.appliance.notary import Notary
from gateway.audit import roots
from gateway.audit.lines import Act, End, Entry, chained, digest, parsed
from gateway.audit.roots import Root
from gateway.identity.devicekeys import FileDeviceKey, new
from tests.fakes.clock import HandClock

NAME = "0190aaaa-0000-7000-8000-000000000001"


def an_act(number: int = 0, **facts: str) -> Act:
    return Act("stream.opened", "ok", {"user": "ada", "number": number, **facts})


def a_log(state: Path, count: int = 0, *, segment: int = 1 << 24) -> AuditLog:
    log = AuditLog(state, clock=HandClock(), segment=segment)
    for number in range(count):
        log.append([an_act(number)])
    return log


def a_notary(log: AuditLog, key: FileDeviceKey, clock: HandClock | None = None) -> Notary:
    return Notary(log, lambda: (NAME, key), clock=clock or HandClock())


def a_chain(count: int) -> list[bytes]:
    return chained(End(), [an_act(number) for number in range(count)], at="2026-11-21T12:00:00+00:00").splitlines()


def a_root(line: bytes, key: FileDeviceKey | None = None) -> Root:
    entry = parsed(line)
    assert entry is not None
    return roots.made(
        key or new(), log=NAME, number=entry.number, head=digest(line), at="2026-11-21T23:00:00+00:00", why="day"
    )


def entries(log: AuditLog) -> list[Entry]:
    return [entry for _, line in log.lines() if (entry := parsed(line))]
