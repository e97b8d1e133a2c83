"""This file is what provisioning asks of Ansible."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from gateway.kit.errors import GatewayError, Remedy


class PlaybookFailedError(GatewayError):
    """A playbook ended badly on some machine."""

    code = "playbook.failed"
    remedy = Remedy.OPERATOR


class PlaybookUnreachableError(GatewayError):
    """A machine could not be reached over SSH."""

    code = "playbook.unreachable"
    remedy = Remedy.RETRY


class PlaybookBrokenError(GatewayError):
    """Ansible itself could not run."""

    code = "playbook.broken"


@dataclass(frozen=True, slots=True)
class Target:
    """One machine a playbook runs on."""

    name: str
    address: str
    variables: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlaybookRun:
    """One playbook to be run.

    `playbook` is its name below ansible/playbooks, without ending. Values in `variables` reach Ansible as
    data: a `{{` in them stays text. `ssh_key` is the private key's file (0600), `known_hosts` the file in
    which each machine's host key is remembered at the first contact, under the machine's name, and must
    match from then on.
    """

    playbook: str
    targets: list[Target]
    user: str
    ssh_key: Path
    known_hosts: Path
    variables: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """Ansible has ended a task on a machine; `done` counts the tasks ended on it in this run."""

    target: str
    task: str
    changed: bool
    done: int


OnTask = Callable[[TaskSeen], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PlaybookResult:
    """What a run that ended well has found; `facts` is, by machine, what the playbook published.

    A playbook publishes by setting the variable `pcg_facts` (a mapping) with `set_fact`.
    """

    facts: dict[str, dict[str, JsonValue]]
    changed: dict[str, int]


class Playbooks(Protocol):
    """Runs playbooks. When `run` is left, however it is left, nothing of it goes on running, here or there."""

    async def run(self, run: PlaybookRun, *, on_task: OnTask) -> PlaybookResult:
        """Run a playbook on all its targets side by side.

        Raises PlaybookFailedError (naming machine, task and Ansible's message), PlaybookUnreachableError or
        PlaybookBrokenError. Cancelling ends everything it has started before the cancellation goes on.
        """
