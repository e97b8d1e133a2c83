"""This file is the promises of the auditor: on the disk before it says so, together where it can, always in order."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from gateway.appliance import auditor
from gateway.appliance.audit import AuditNotWrittenError
from gateway.appliance.auditor import Auditor
from gateway.audit.lines import Act
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


async def test_what_is_kept_goes_before_what_comes_next_once_the_disk_has_room() -> None:
    disk = Disk()
    disk.full = True
    disk.gate.set()
    with Auditor(disk.append) as audit:
        with capture_logs() as said:
            audit.keep(act("closed 1"))
            audit.keep(act("closed 2"))
            for _ in range(2):
                with pytest.raises(AuditNotWrittenError):
                    await audit.write(act("opening"))
            disk.full = False
            await audit.write(act("opening, later"))
        assert disk.rounds == [["closed 1", "closed 2", "opening, later"]]
    assert [one["log_level"] for one in said] == ["error", "info"]


async def test_what_is_kept_is_written_by_a_retry_and_not_twice() -> None:
    disk = Disk()
    disk.full = True
    disk.gate.set()
    with Auditor(disk.append) as audit:
        audit.keep(act("closed"))
        with pytest.raises(AuditNotWrittenError):
            await audit.write(act("opening"))
        disk.full = False
        audit.retry()
        async with asyncio.timeout(10):
            while not disk.rounds:  # noqa: ASYNC110 - another thread writes
                await asyncio.sleep(0.001)
    assert disk.rounds == [["closed"]]


async def test_what_is_kept_is_tried_once_more_at_the_end_and_a_loss_is_told() -> None:
    disk = Disk()
    disk.full = True
    with Auditor(disk.append) as audit:
        audit.keep(act("in the round under way"))
        audit.keep(act("behind it"))
        disk.gate.set()
        disk.full = False
    assert [one for each in disk.rounds for one in each] == ["in the round under way", "behind it"]
    disk.full = True
    with capture_logs() as said, Auditor(disk.append) as audit:
        audit.keep(act("lost"))
        audit.keep(act("lost"))
    assert [(one["log_level"], one["lines"]) for one in said] == [("error", 2)]


async def test_what_is_kept_has_a_bound_and_what_is_beyond_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "MOST_WAITING", 2)
    disk = Disk()
    with capture_logs() as said, Auditor(disk.append) as audit:
        for name in ("under way", "one", "two", "three"):
            audit.keep(act(name))
        disk.gate.set()
    assert [one for each in disk.rounds for one in each] == ["under way", "one", "two"]
    assert [one["action"] for one in said] == ["three"]
