"""This file is the cell a run is kept in: namespaces of its own, ended by the kernel with everything in them.

::

    appliance -- setpriv --pdeathsig KILL, becomes
                 unshare --fork --kill-child
                   +- runner, process 1 of the cell: private /proc, read-only world, one tmpfs
                        +- ansible-playbook, its forks, ssh, ssh's persistent masters

The cell ends in any of three independent ways: the runner is killed or ends (kernel: process 1 takes the rest
along); `unshare` is killed, or dies of the appliance's death (kernel: PR_SET_PDEATHSIG); the appliance's end of
the runner's standard input is closed, which a kill -9 does too (runner: it ends itself). The last one does not
depend on which thread of the appliance forked, as PR_SET_PDEATHSIG does.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from gateway.playbooks.port import PlaybookBrokenError
from gateway.playbooks.wire import LINE_LIMIT

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
"""All that a run inherits from us: nothing."""

END_WITHIN = 15.0
ASK_EVERY = 0.05


@asynccontextmanager
async def cell() -> AsyncIterator[Process]:
    """Start a runner in a cell of its own; leaving waits until every process in it is gone.

    Raises PlaybookBrokenError when there is no `unshare` or the cell cannot be ended.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *_command(), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=ENVIRONMENT, cwd="/", limit=LINE_LIMIT
        )
    except OSError as fault:
        raise PlaybookBrokenError(f"cannot start Ansible's cell ({fault.strerror}): install util-linux") from fault
    try:
        yield process
    finally:
        await _end(process)


def _command() -> list[str]:
    # Who is not root makes a user namespace as well, in which he may make the others.
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *("unshare", *users, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
        *(sys.executable, "-I", "-m", "gateway.playbooks.runner"),
    ]


async def _end(process: Process) -> None:
    """Kill the cell's first process and wait for `unshare`, which waits until the kernel has ended the rest."""
    if process.stdin:
        process.stdin.close()
    _kill_first_process(process)
    try:
        async with asyncio.timeout(END_WITHIN):
            while process.returncode is None:
                _kill_first_process(process)  # again: it may just have been forked
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_EVERY):
                        await process.wait()
    except TimeoutError as fault:
        raise PlaybookBrokenError(
            f"Ansible's processes do not end within {END_WITHIN:.0f} seconds of being killed: restart the appliance"
        ) from fault


def _kill_first_process(process: Process) -> None:
    # Not `unshare` itself: it would be gone before the cell is, and nobody could tell when the cell is.
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError, FileNotFoundError):
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
