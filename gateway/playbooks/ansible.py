"""This file is the Playbooks port on Ansible: one cell a run, reports in, a result or an error out."""

import asyncio
import collections
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

import structlog

import gateway
from gateway.kit.clock import Clock
from gateway.kit.files import PRIVATE_FILE
from gateway.playbooks import inventory, wire
from gateway.playbooks.cell import cell
from gateway.playbooks.port import OnTask, PlaybookBrokenError, PlaybookResult, PlaybookRun, TaskSeen
from gateway.playbooks.progress import Progress
from gateway.playbooks.reach import until_all_answer

log = structlog.get_logger(__name__)

PROJECT = Path(gateway.__file__).parent.parent / "ansible"
"""Our playbooks and roles, beside the import root."""

UNTOLD_LIMIT = 1000
"""Progress reports kept for a slow listener; the oldest go first, for each holds all that the one before said."""


class Feed:
    """Hands progress on in order, at the listener's pace and never at Ansible's cost."""

    def __init__(self) -> None:
        self._waiting: collections.deque[TaskSeen] = collections.deque(maxlen=UNTOLD_LIMIT)
        self._news = asyncio.Event()
        self._closed = False

    def add(self, seen: TaskSeen) -> None:
        """Have it told."""
        self._waiting.append(seen)
        self._news.set()

    def close(self) -> None:
        """Let `tell` end once everything is told."""
        self._closed = True
        self._news.set()

    async def tell(self, on_task: OnTask) -> None:
        """Tell until closed."""
        while self._waiting or not self._closed:
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
                continue
            await on_task(self._waiting.popleft())


class AnsiblePlaybooks:
    """Runs playbooks of `project` with the ansible-playbook that is installed beside this Python.

    Machines that do not answer on `ssh_port` within `reach_within` seconds count as unreachable.
    """

    def __init__(
        self, *, clock: Clock, project: Path = PROJECT, ssh_port: int = 22, reach_within: float = 300.0
    ) -> None:
        self._clock = clock
        self._project = project
        self._ssh_port = ssh_port
        self._reach_within = reach_within

    async def run(self, run: PlaybookRun, *, on_task: OnTask) -> PlaybookResult:
        """Run a playbook as the port promises. Raises PlaybookInputError, too, for what Ansible may not be given."""
        inventory.check(run)
        order = self._order(run)
        await until_all_answer(run.targets, port=self._ssh_port, within=self._reach_within, clock=self._clock)
        run.known_hosts.touch(mode=PRIVATE_FILE)
        progress, feed = Progress(), Feed()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(feed.tell(on_task))
                async with cell() as process:
                    await _send(process, order)
                    await _listen(process, progress, feed)
                feed.close()
        except BaseExceptionGroup as several:
            if len(several.exceptions) == 1:
                raise several.exceptions[0] from several.exceptions[0].__cause__
            raise
        return progress.result()

    def _order(self, run: PlaybookRun) -> wire.Order:
        executable = Path(sys.executable).with_name("ansible-playbook")
        playbook = self._project / "playbooks" / f"{run.playbook}.yml"
        for needed in (executable, playbook, run.ssh_key):
            if not needed.is_file():
                raise PlaybookBrokenError(f"{needed} is not there: install the appliance again", path=str(needed))
        return wire.Order(
            executable=str(executable),
            project=str(self._project.resolve()),
            playbook=run.playbook,
            inventory=inventory.inventory(run, port=self._ssh_port),
            variables=inventory.variables(run),
            ssh_key=str(run.ssh_key.resolve()),
            known_hosts=str(run.known_hosts.resolve()),
            forks=min(len(run.targets), inventory.FORKS_LIMIT),
        )


async def _send(process: Process, order: wire.Order) -> None:
    if process.stdin is None:
        raise PlaybookBrokenError("the runner has no standard input")
    with suppress(ConnectionError):  # it is gone already; that it said nothing is told below
        process.stdin.write(wire.write_order(order))
        await process.stdin.drain()


async def _listen(process: Process, progress: Progress, feed: Feed) -> None:
    if process.stdout is None:
        raise PlaybookBrokenError("the runner has no standard output")
    try:
        while progress.ended is None and (line := await process.stdout.readline()):
            seen = progress.take(wire.read_line(line))
            if seen is not None:
                feed.add(seen)
    except ValueError as fault:  # a line beyond the limit
        raise PlaybookBrokenError("the process that runs Ansible said more than it may in one line") from fault
