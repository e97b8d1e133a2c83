"""This file is a machine to sign in to: OpenSSH's own server on loopback, in a process namespace of its own."""

import asyncio
import os
import shutil
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from gateway.playbooks.port import PlaybookRun, Target

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
USER = "root"


@dataclass(frozen=True, slots=True)
class Machine:
    """A running sshd and what signs in to it."""

    port: int
    key: Path
    known_hosts: Path

    def run(
        self, playbook: str, *, names: tuple[str, ...] = ("demo-workers-0",), **variables: JsonValue
    ) -> PlaybookRun:
        return PlaybookRun(
            playbook=playbook,
            targets=[Target(name, "127.0.0.1") for name in names],
            user=USER,
            ssh_key=self.key,
            known_hosts=self.known_hosts,
            variables=variables,
        )


@asynccontextmanager
async def machine(directory: Path, *, instead: Path | None = None) -> AsyncIterator[Machine]:
    """Run sshd; leaving kills it and every process that was started through it.

    `instead` is a program that answers whatever is asked of the machine.
    """
    key, host_key = directory / "key", directory / "host_key"
    await _new_key(key)
    await _new_key(host_key)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {directory}/key.pub\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\n"
        + (f"ForceCommand {instead}\n" if instead is not None else "")
    )
    await asyncio.to_thread(Path("/run/sshd").mkdir, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
        *(str(SSHD), "-D", "-f", str(config)),
    )
    try:
        yield Machine(port=port, key=key, known_hosts=directory / "known_hosts")
    finally:
        process.kill()
        await process.wait()


async def _new_key(path: Path) -> None:
    made = await asyncio.create_subprocess_exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))
    assert await made.wait() == 0


def with_targets(run: PlaybookRun, *targets: Target) -> PlaybookRun:
    return replace(run, targets=list(targets))


def marked_seconds() -> str:
    """Return a number of seconds to sleep by which the process can be found."""
    return f"600.{uuid.uuid4().int % 10**12:012}"


def processes(*, saying: str = "", namespace: str = "") -> list[int]:
    """Return the processes whose command line holds that text or which live in that process namespace."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            said = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            lives = str((entry / "ns" / "pid").readlink())
        except OSError:
            continue
        if (saying and saying in said) or (namespace and lives == namespace):
            found.append(int(entry.name))
    return found


def namespace_of_cell_under(pid: int) -> str:
    """Return the process namespace of the run that this process has started."""
    (unshare,) = _children(pid, saying="gateway.playbooks.runner")
    (runner,) = _children(unshare, saying="gateway.playbooks.runner")
    return str(Path(f"/proc/{runner}/ns/pid").readlink())


def _children(pid: int, *, saying: str) -> list[int]:
    children = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        children += [int(child) for child in (thread / "children").read_text().split()]
    return [child for child in children if saying in Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")]


async def until(true: Callable[[], object], *, within: float = 15.0) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 - what is waited for are other processes
            await asyncio.sleep(0.05)
