"""This file is what the appliance and the process that runs Ansible say to each other, one JSON object a line.

::

    appliance (ansible.py)                   first process of the run's own namespaces (runner.py)
        | -- Order ---------------------------> |   one line on its standard input, which then stays open:
        | <---------------------- TaskEnded --- |   its end tells the runner that the appliance is gone
        | <---------------------- Published --- |
        | <-------------------------- Ended --- |   the last line

Standard library only: the runner starts in a tenth of the time that pydantic takes to import.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from gateway.kit.errors import GatewayError

LINE_LIMIT = 512 * 1024
"""Bytes of the longest line; every text in a line is cut where it is made, so that none gets near it."""

TEXT_LIMIT = 1500
"""Characters of the longest text for a person; longer ones are cut."""

FACTS_LIMIT = 64 * 1024
"""Bytes of what one machine may publish, as JSON."""


class WireError(GatewayError):
    """The process that runs Ansible said something that is not in its language."""

    code = "playbook.wire"


class TaskState(StrEnum):
    """How a task ended on one machine."""

    OK = "ok"
    CHANGED = "changed"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Order:
    """Everything the runner needs; the documents are JSON texts ready for Ansible."""

    executable: str
    project: str
    playbook: str
    inventory: str
    variables: str
    ssh_key: str
    known_hosts: str
    forks: int


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A task has ended on a machine; `message` says why when it ended badly."""

    target: str
    task: str
    state: TaskState
    message: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A machine has published facts."""

    target: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """Ansible has ended. `failed` and `unreachable` are machines; `said` is the end of what it printed."""

    exit_code: int
    failed: list[str]
    unreachable: list[str]
    said: str


Line = TaskEnded | Published | Ended
_KINDS: dict[str, type[TaskEnded] | type[Published] | type[Ended]] = {
    "task": TaskEnded,
    "published": Published,
    "ended": Ended,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def write_order(order: Order) -> bytes:
    """Return the order as one line."""
    return json.dumps(asdict(order)).encode() + b"\n"


def read_order(line: bytes) -> Order:
    """Return the order in that line. Raises WireError."""
    try:
        return Order(**json.loads(line))
    except (ValueError, TypeError) as fault:
        raise WireError(f"the order cannot be read: {type(fault).__name__}") from fault


def write_line(line: Line) -> bytes:
    """Return one report as one line."""
    return json.dumps({"kind": _NAMES[type(line)], **asdict(line)}).encode() + b"\n"


def read_line(text: bytes) -> Line:
    """Return the report in that line. Raises WireError."""
    try:
        values = json.loads(text)
        kind = _KINDS[values.pop("kind")]
        if kind is TaskEnded:
            values["state"] = TaskState(values["state"])
        return kind(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise WireError(f"a report cannot be read: {type(fault).__name__}") from fault


def printable(text: str, *, limit: int = TEXT_LIMIT) -> str:
    """Return `text` on one line, without control characters (they could paint a terminal), cut at `limit`."""
    whole = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return whole if len(whole) <= limit else whole[: limit - 1] + "…"
