"""This file is what a lab writes down about itself, and how others read it."""

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.kit.files import write_whole
from gateway.lab.places import LabDirectory


class Process(BaseModel):
    """A process that cannot be mistaken for a later one with the same number."""

    model_config = ConfigDict(frozen=True)

    pid: int
    began: int
    """Start time in clock ticks since boot (proc(5), stat, field 22)."""

    def alive(self) -> bool:
        """Say whether that very process still runs."""
        return start_time(self.pid) == self.began

    @classmethod
    def of(cls, pid: int) -> "Process":
        """Return the process that has `pid` now. ProcessLookupError when there is none."""
        began = start_time(pid)
        if began is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid=pid, began=began)


class Birth(BaseModel):
    """How a lab was started; `world` is the first process inside its namespaces."""

    model_config = ConfigDict(frozen=True)

    name: str
    number: int
    artifacts: Path
    world: Process | None = None


class MachineStatus(BaseModel):
    """One VM as the hypervisor sees it."""

    model_config = ConfigDict(frozen=True)

    moid: str
    name: str
    state: str
    """off, booting, running, stopping or failed."""
    macs: list[str] = []
    address: str | None = None
    hostname: str | None = None
    boot_seconds: float | None = None
    """From power on to the first address."""


class Status(BaseModel):
    """What the supervisor knows."""

    model_config = ConfigDict(frozen=True)

    ready: bool = False
    error: str | None = None
    machines: list[MachineStatus] = []


def start_time(pid: int) -> int | None:
    """Return when process `pid` began, in clock ticks since boot, or None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def first_child(pid: int) -> int | None:
    """Return a child of process `pid`, or None while it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(children[0]) if children else None


def write_birth(directory: LabDirectory, birth: Birth) -> None:
    """Write down how the lab was started."""
    write_whole(directory.birth, birth.model_dump_json().encode())


def read_birth(directory: LabDirectory) -> Birth | None:
    """Return how the lab was started, or None when that was never written."""
    try:
        return Birth.model_validate_json(directory.birth.read_bytes())
    except (OSError, ValidationError):
        return None


def write_status(directory: LabDirectory, status: Status) -> None:
    """Publish the supervisor's view. Not flushed to disk: after a crash it means nothing."""
    temporary = directory.status.with_suffix(".new")
    temporary.write_text(json.dumps(status.model_dump(), indent=1), encoding="utf-8")
    os.replace(temporary, directory.status)  # noqa: PTH105 - same directory, atomic


def read_status(directory: LabDirectory) -> Status:
    """Return the supervisor's last view; an empty one while there is none."""
    try:
        return Status.model_validate_json(directory.status.read_bytes())
    except (OSError, ValidationError):
        return Status()
