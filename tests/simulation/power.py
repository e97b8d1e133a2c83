"""This file is the power of one appliance: cut at a moment, or before or after the n-th flush."""

import asyncio


class PowerCutError(BaseException):
    """The machine stops here. Not an Exception: nothing may handle it."""


class Power:
    """Power from one start to the next cut."""

    def __init__(self, *, flushes: int | None = None) -> None:
        self.is_on = True
        self.gone = asyncio.Event()
        self._flushes = flushes
        self._waiting: set[asyncio.Future[None]] = set()

    def flush_point(self) -> None:
        """Pass one of the points before and after each flush; the power may be cut at it."""
        self.check()
        if self._flushes is not None:
            self._flushes -= 1
            if self._flushes <= 0:
                self.cut()
                raise PowerCutError

    def check(self) -> None:
        """Go on only with power."""
        if not self.is_on:
            raise PowerCutError

    def cut(self) -> None:
        """Let it be dark."""
        if self.is_on:
            self.is_on = False
            self.gone.set()
            for one in list(self._waiting):
                if not one.done():
                    one.set_exception(PowerCutError())

    async def last(self, seconds: float) -> None:
        """Take some time that no cancellation shortens, only a cut."""
        self.check()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.add(done)
        timer = loop.call_later(seconds, lambda: None if done.done() else done.set_result(None))
        cancelled: asyncio.CancelledError | None = None
        try:
            while not done.done():
                try:
                    await asyncio.wait([done])
                except asyncio.CancelledError as fault:
                    cancelled = fault
            done.result()
        finally:
            timer.cancel()
            self._waiting.discard(done)
        if cancelled is not None:
            raise cancelled
