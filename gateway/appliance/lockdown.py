"""This file is the lockdown: while one file is in the state directory nothing of the console's is done here.

::

    lockdown         written by `pcg appliance lockdown`; the appliance looks for it all the time
    lockdown.held    written by the appliance once everything is cut

It needs no console, survives restarts, and what was cut goes on where it was once the lockdown is over.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import structlog

from gateway.kit import files, supervise
from gateway.kit.clock import Clock

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = 0.1
CUT_WITHIN: Final = 0.7
"""Seconds in which the parts may end by themselves; after that the process does, and nothing it holds outlives it."""
CUT_EXIT: Final = 75


class Lockdown:
    """The lockdown of one state directory."""

    def __init__(self, state: Path) -> None:
        self._asked = state / "lockdown"
        self._held = state / "lockdown.held"

    @property
    def is_asked(self) -> bool:
        """Whether somebody on the site wants everything cut."""
        return self._asked.exists()

    @property
    def is_held(self) -> bool:
        """Whether the appliance says that everything is cut."""
        return self._held.exists()

    def ask(self) -> None:
        """Have everything cut; a running appliance sees it at once, others when they start."""
        self._held.unlink(missing_ok=True)
        files.write_whole(self._asked, b"")

    def release(self) -> None:
        """End the lockdown."""
        self._asked.unlink(missing_ok=True)

    async def keep(
        self,
        parts: Callable[[], Coroutine[Any, Any, None]],
        *,
        clock: Clock,
        cut: Callable[[], None] = lambda: os._exit(CUT_EXIT),
    ) -> None:
        """Run `parts` whenever there is no lockdown, until cancelled. What does not end in time is ended with `cut`."""
        while True:
            self._held.unlink(missing_ok=True)
            if not self.is_asked:
                await self._run_until_asked(parts, clock, cut)
            log.warning("lockdown: nothing is done for the console until it is released")
            files.write_whole(self._held, b"")
            while self.is_asked:
                await clock.sleep(LOOK_EVERY)
            log.info("lockdown is over")

    async def _run_until_asked(
        self, parts: Callable[[], Coroutine[Any, Any, None]], clock: Clock, cut: Callable[[], None]
    ) -> None:
        async with supervise.running(parts=parts()):
            while not self.is_asked:
                await clock.sleep(LOOK_EVERY)
            last = asyncio.get_running_loop().call_later(CUT_WITHIN, cut)
        last.cancel()
