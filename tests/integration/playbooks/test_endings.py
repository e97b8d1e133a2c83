"""This file is that nothing outlives a run, however it ends."""

import asyncio
import os
import signal
import threading
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from gateway.playbooks.ansible import AnsiblePlaybooks
from gateway.playbooks.port import TaskSeen
from tests.integration.playbooks import appliance
from tests.integration.playbooks.machine import Machine, marked_seconds, namespace_of_cell_under, processes, until


async def ignore(_seen: TaskSeen) -> None:
    """Listen to nothing."""


@pytest.mark.parametrize("playbook", ["sleep", "sleep_here"])
async def test_a_cancelled_run_leaves_no_process_behind(
    there: Machine, playbooks: AnsiblePlaybooks, playbook: str
) -> None:
    seconds = marked_seconds()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(playbooks.run(there.run(playbook, given=seconds), on_task=ignore))
        await until(lambda: processes(saying=f"sleep {seconds}"))
        cell = namespace_of_cell_under(os.getpid())
        assert len(processes(namespace=cell)) > 3
        running.cancel()
        await asyncio.wait([running])

        assert running.cancelled()
        assert processes(namespace=cell) == []


async def test_a_run_past_its_deadline_leaves_no_process_behind(there: Machine, playbooks: AnsiblePlaybooks) -> None:
    cells: list[str] = []

    async def look(_seen: TaskSeen) -> None:
        cells.append(namespace_of_cell_under(os.getpid()))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4):
            await playbooks.run(there.run("sleep_here", given=marked_seconds()), on_task=look)

    assert processes(namespace=cells[0]) == []


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1, 0.4])
async def test_a_run_cancelled_while_it_starts_leaves_no_process_behind(
    there: Machine, playbooks: AnsiblePlaybooks, delay: float
) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(playbooks.run(there.run("sleep", given=marked_seconds()), on_task=ignore))
        await until(lambda: _started() or running.done())
        await asyncio.sleep(delay)
        running.cancel()
        await asyncio.wait([running])

    assert running.cancelled()
    assert not _started()


def _started() -> list[str]:
    return [path.read_text() for path in Path("/proc/self/task").glob("*/children") if _runs_ansible(path)]


def _runs_ansible(children: Path) -> bool:
    pids = children.read_text().split()
    return any(b"gateway.playbooks" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)


async def test_a_killed_appliance_leaves_no_process_behind(there: Machine, project: Path) -> None:
    seconds = marked_seconds()
    run = there.run("sleep_here", given=seconds)
    killed = await asyncio.create_subprocess_exec(*appliance.COMMAND, stdin=PIPE, cwd=appliance.ROOT)
    assert killed.stdin
    killed.stdin.write(appliance.wish(run, project=project, port=there.port))
    try:
        await until(lambda: processes(saying=f"sleep {seconds}"))
        cell = namespace_of_cell_under(killed.pid)
    finally:
        killed.send_signal(signal.SIGKILL)
        await killed.wait()

    await until(lambda: not processes(namespace=cell))


async def test_a_run_ends_well_when_it_was_started_from_a_thread_of_its_own(
    there: Machine, playbooks: AnsiblePlaybooks
) -> None:
    """PR_SET_PDEATHSIG tells of the end of the thread that forked, not of the process."""
    changed: list[dict[str, int]] = []

    def elsewhere() -> None:
        changed.append(asyncio.run(playbooks.run(there.run("greet"), on_task=ignore)).changed)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)

    assert changed == [{"demo-workers-0": 1}]


async def test_a_run_leaves_no_file_behind_but_the_host_keys(
    there: Machine, playbooks: AnsiblePlaybooks, tmp_path: Path
) -> None:
    def files() -> set[Path]:
        places = (tmp_path, Path("/tmp"), Path("/dev/shm"), Path.home() / ".ansible", Path.home() / ".ssh")
        return {path for place in places if place.exists() for path in place.glob("**/*" if place is tmp_path else "*")}

    before = files()
    await playbooks.run(there.run("greet"), on_task=ignore)

    ours = {path for path in files() - before if "ansible" in path.name or path.is_relative_to(tmp_path)}
    assert ours == {there.known_hosts}
