"""This file is the promises of the auditor: on the disk before it says so, together where it can, always in order."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from gateway.appliance import auditor
from gateway.appliance.audit import AuditNotWrittenError
from gateway.appliance.auditlines import Act
from gateway.appliance.auditor import Auditor
from gateway.kit import supervise


class Disk:
    """Takes rounds of acts, each only once the gate is open."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.gate = threading.Event()
        self.full = False

    def append(self, acts: Sequence[Act]) -> None:
        self.gate.wait(10)
        if self.full:
            raise AuditNotWrittenError("full")
        self.rounds.append([act.action for act in acts])


def act(name: str) -> Act:
    return Act(name, "ok")


async def test_what_was_written_is_on_the_disk() -> None:
    disk = Disk()
    disk.gate.set()
    with Auditor(disk.append) as audit:
        await audit.write(act("one"))
        assert disk.rounds == [["one"]]


async def test_what_comes_while_the_disk_is_busy_goes_together_and_in_order() -> None:
    disk = Disk()
    with Auditor(disk.append) as audit:
        waiting = [audit.note(act(name)) for name in "abcd"]
        disk.gate.set()
        await asyncio.wait(waiting, timeout=10)
    assert disk.rounds == [["a"], ["b", "c", "d"]]


async def test_a_full_disk_fails_those_it_concerns_and_nobody_after() -> None:
    disk = Disk()
    disk.full = True
    disk.gate.set()
    with Auditor(disk.append) as audit:
        with pytest.raises(AuditNotWrittenError):
            await audit.write(act("one"))
        disk.full = False
        await audit.write(act("two"))
    assert disk.rounds == [["two"]]


async def test_who_gives_up_waiting_holds_up_nobody() -> None:
    disk = Disk()
    with Auditor(disk.append) as audit:

        async def impatient() -> None:
            await audit.write(act("impatient"))
            await asyncio.Event().wait()

        async with supervise.running(impatient=impatient()):
            await asyncio.sleep(0)
            patient = audit.note(act("patient"))
        disk.gate.set()
        await asyncio.wait([patient], timeout=10)
    assert disk.rounds == [["impatient"], ["patient"]]


async def test_a_disk_that_hangs_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "WRITE_LIMIT", 0.01)
    monkeypatch.setattr(auditor, "MOST_WAITING", 2)
    disk = Disk()
    with Auditor(disk.append) as audit:
        with pytest.raises(AuditNotWrittenError, match="too long"):
            await audit.write(act("one"))
        audit.note(act("two"))
        audit.note(act("three"))
        with pytest.raises(AuditNotWrittenError, match="too slow"):
            await audit.write(act("four"))
        disk.gate.set()


async def test_what_was_noted_before_the_end_is_written_and_nothing_after_it() -> None:
    disk = Disk()
    with Auditor(disk.append) as audit:
        for name in "ab":
            audit.note(act(name))
        disk.gate.set()
    with pytest.raises(AuditNotWrittenError):
        await audit.write(act("late"))
    assert [one for each in disk.rounds for one in each] == ["a", "b"]
