"""This file is how streams write the audit log without waiting in line: what comes together is flushed together.

::

    write, note    must be written before what it tells of goes on; fails with the disk
    keep           tells of what has happened already; kept until the disk takes it

One thread writes. While it does, what else is to be written gathers, and goes in the next round with one flush.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from gateway.appliance.audit import AuditNotWrittenError
from gateway.audit.lines import Act

log = structlog.get_logger(__name__)

WRITE_LIMIT = 10.0
MOST_WAITING = 4096
"""Acts that wait to be written, and as many that are kept."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    act: Act
    written: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class _Round:
    kept: list[Act]
    waiting: list[_Waiting]
    done: "Future[None]"


class Auditor:
    """Writes acts through `append`, which blocks; use it as a context, which waits for the last round at its end."""

    def __init__(self, append: Callable[[Sequence[Act]], None]) -> None:
        self._append = append
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self._waiting: list[_Waiting] = []
        self._kept: list[Act] = []
        self._round: _Round | None = None
        self._is_behind = False
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._thread.shutdown(wait=True)
        unwritten = self._round.kept if self._round and self._round.done.exception() else []
        left = [*unwritten, *self._kept, *(one.act for one in self._waiting)]
        self._waiting, self._kept = [], []
        if not left:
            return
        try:
            self._append(left)
        except AuditNotWrittenError as fault:
            log.error("audit log cannot be written, lines are lost", lines=len(left), error=fault.message)  # noqa: TRY400 - no defect of ours

    async def write(self, act: Act) -> None:
        """Return when `act` is on the disk. Raises AuditNotWrittenError, also when the disk takes too long.

        Whoever is cancelled here may find the act in the log all the same.
        """
        try:
            async with asyncio.timeout(WRITE_LIMIT):
                await self.note(act)
        except TimeoutError as fault:
            raise AuditNotWrittenError("the appliance's disk takes too long to write the audit log") from fault

    def note(self, act: Act) -> "asyncio.Future[None]":
        """Have `act` written, soon, and return what to wait for; it fails with AuditNotWrittenError.

        Nobody has to wait.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.add_done_callback(lambda future: future.cancelled() or future.exception())
        if self._closed:
            written.set_exception(AuditNotWrittenError("the appliance is stopping"))
            return written
        if len(self._waiting) >= MOST_WAITING:
            written.set_exception(AuditNotWrittenError("the appliance's disk is too slow for its audit log"))
            return written
        self._waiting.append(_Waiting(act, written))
        self._write_next_round()
        return written

    def keep(self, act: Act) -> None:
        """Have `act` written as soon as the disk takes it: now, with what comes next, or when `retry` is called."""
        if self._closed or len(self._kept) >= MOST_WAITING:
            log.error("audit log cannot be written, a line is lost", action=act.action, facts=dict(act.facts))
            return
        self._kept.append(act)
        self._write_next_round()

    def retry(self) -> None:
        """Try again to write what is kept."""
        self._write_next_round()

    def _write_next_round(self) -> None:
        if self._round or self._closed or not (self._waiting or self._kept):
            return
        kept, self._kept = self._kept, []
        waiting, self._waiting = self._waiting, []
        done = self._thread.submit(self._append, [*kept, *(one.act for one in waiting)])
        self._round = over = _Round(kept, waiting, done)
        asyncio.wrap_future(done).add_done_callback(lambda future: self._round_is_over(over, future))

    def _round_is_over(self, over: _Round, done: "asyncio.Future[None]") -> None:
        fault = AuditNotWrittenError("the appliance is stopping") if done.cancelled() else done.exception()
        self._round = None
        self._tell_how_it_goes(fault, len(over.kept))
        for one in over.waiting:
            if one.written.done():
                continue
            if fault is None:
                one.written.set_result(None)
            else:
                one.written.set_exception(fault)
        if fault is not None and not self._closed:
            self._kept = [*over.kept, *self._kept]
        if fault is None or self._waiting:
            self._write_next_round()

    def _tell_how_it_goes(self, fault: BaseException | None, kept: int) -> None:
        if fault is not None and kept and not self._is_behind:
            self._is_behind = True
            log.error("audit log cannot be written, its lines are kept until it can", error=str(fault), lines=kept)
        elif fault is None and self._is_behind:
            self._is_behind = False
            log.info("audit log is written again, with what was kept", lines=kept)
