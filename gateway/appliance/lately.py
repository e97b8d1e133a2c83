"""This file is what the running appliance leaves for `pcg appliance status`: when it was last welcomed, and refused.

::

    lately.json    written when it is welcomed, and when a call fails for another reason than the one before

Nothing depends on it: one that cannot be read or written is as good as none.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gateway.kit import files
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError
from gateway.kit.files import FileNotPrivateError

log = structlog.get_logger(__name__)

LARGEST_OFFSET = 60.0
"""Seconds by which this machine's clock may be off the console's before it is said."""


class Failure(BaseModel):
    """Why the last call failed."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    at: AwareDatetime = Field(description="by this machine's clock")


class Lately(BaseModel):
    """How it went with the console lately."""

    model_config = ConfigDict(frozen=True)

    welcomed_at: AwareDatetime | None = Field(default=None, description="the console's time")
    clock_offset: float | None = Field(default=None, description="seconds by which this clock was ahead of it")
    failure: Failure | None = Field(default=None, description="since then")


def read(state: Path) -> Lately:
    """Return what the appliance with this state directory has left."""
    try:
        return Lately.model_validate_json(files.read_private(state / "lately.json"))
    except (OSError, ValidationError, FileNotPrivateError):
        return Lately()


@dataclass(slots=True)
class Diary:
    """Writes down how it goes."""

    state: Path
    clock: Clock
    _known: Lately = field(init=False)
    _told_offset: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._known = read(self.state)

    def welcomed(self, server_time: datetime) -> None:
        """Take note of a welcome, and say in the log when the two clocks are too far apart."""
        offset = (self.clock.now() - server_time).total_seconds()
        is_far = abs(offset) > LARGEST_OFFSET
        if is_far and not self._told_offset:
            log.warning("this machine's clock is off the console's: set up NTP", ahead_seconds=round(offset))
        self._told_offset = is_far
        self._write(Lately(welcomed_at=server_time, clock_offset=round(offset, 1)))

    def failed(self, fault: GatewayError) -> None:
        """Take note of a call that failed."""
        before = self._known.failure
        if before is not None and (before.code, before.message) == (fault.code, fault.message):
            return
        failure = Failure(code=fault.code, message=fault.message, at=self.clock.now())
        self._write(self._known.model_copy(update={"failure": failure}))

    def _write(self, lately: Lately) -> None:
        self._known = lately
        try:
            files.write_whole(self.state / "lately.json", lately.model_dump_json().encode())
        except OSError as fault:
            log.warning("cannot write down how it goes with the console", error=fault.strerror)
