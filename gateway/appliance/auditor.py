"""This file is how streams write the audit log without waiting in line: what comes together is flushed together.

One thread writes. While it does, what else is to be written gathers, and goes in the next round with one flush.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from gateway.appliance.audit import AuditNotWrittenError
from gateway.appliance.auditlines import Act

WRITE_LIMIT = 10.0
MOST_WAITING = 4096


@dataclass(frozen=True, slots=True)
class _Waiting:
    act: Act
    written: "asyncio.Future[None]"


class Auditor:
    """Writes acts through `append`, which blocks; use it as a context, which waits for the last round at its end."""

    def __init__(self, append: Callable[[Sequence[Act]], None]) -> None:
        self._append = append
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._thread.shutdown(wait=True)
        left, self._waiting = self._waiting, []
        if left:
            self._append([one.act for one in left])

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

    def _write_next_round(self) -> None:
        if self._busy or self._closed or not self._waiting:
            return
        self._busy = True
        batch, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._thread, self._append, [one.act for one in batch])
        done.add_done_callback(lambda future: self._round_is_over(batch, future))

    def _round_is_over(self, batch: list[_Waiting], done: "asyncio.Future[None]") -> None:
        fault = AuditNotWrittenError("the appliance is stopping") if done.cancelled() else done.exception()
        for one in batch:
            if one.written.done():
                continue
            if fault is None:
                one.written.set_result(None)
            else:
                one.written.set_exception(fault)
        self._busy = False
        self._write_next_round()
