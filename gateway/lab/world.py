"""This file is the supervisor of a lab, the program that runs inside its namespaces.

    unshare --net --mount --pid --fork --kill-child --mount-proc
      python -m gateway.lab.first            process 1: reaps, and ends when the supervisor ends
        python -m gateway.lab.world          the supervisor
          dnsmasq, vcenter, systemd-nspawn for each machine

Process 1 of a process namespace takes all others with it when it dies, the kernel sees to that, and the
last process takes the network and mount namespaces. So nothing here cleans up on its way out: ending is
dying, and dying is the same whether somebody asked for it or not.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError
from gateway.lab import eye, modules, network, places, programs, records
from gateway.lab.hypervisor import Hypervisor
from gateway.lab.machine import Ground
from gateway.lab.places import LabDirectory
from gateway.lab.records import MachineStatus, Status

log = structlog.get_logger(__name__)

READY_LINE = b"vcenter: ready"
READY_LIMIT = 60.0


class PartDiedError(GatewayError):
    """A part of the lab's data centre has ended."""

    code = "lab.part_died"


async def supervise(directory: LabDirectory, number: int, *, rootfs: Path, vcenter: Path) -> None:
    """Run the data centre until cancelled or until a part of it dies."""
    programs.run(["mount", "-t", "tmpfs", "-o", "mode=0755,size=256m", "tmpfs", "/run"])
    network.lay_out()
    ground = Ground(
        group=places.group_name(directory.name, number),
        rootfs=rootfs,
        modules=modules.make_tree(directory.modules),
        machines=directory.machines,
    )
    published = Status()

    def publish(machines: list[MachineStatus]) -> None:
        records.write_status(directory, Status(ready=published.ready, machines=machines))

    async with asyncio.TaskGroup() as group, _part(network.dnsmasq_command(), directory, "dnsmasq") as dnsmasq:
        command = _vcenter_command(directory, vcenter)
        async with _part(command, directory, "vcenter", wait_for=READY_LINE) as simulator:
            group.create_task(_must_live("dnsmasq", dnsmasq))
            group.create_task(_must_live("vcenter", simulator))
            group.create_task(_end_with(sys.stdin.fileno()))
            password = directory.password.read_text(encoding="ascii").strip()
            with eye.opened(places.DOOR, places.DOOR_USER, password) as view:
                published = Status(ready=True)
                records.write_status(directory, published)
                log.info("lab ready", lab=directory.name)
                await Hypervisor(view, ground, clock=SystemClock(), publish=publish).run()


def _vcenter_command(directory: LabDirectory, vcenter: Path) -> list[str]:
    return [
        str(vcenter), "-listen=0.0.0.0:443", f"-door={places.DOOR}", f"-control={directory.control}",
        f"-user={places.USER}", f"-door-user={places.DOOR_USER}", f"-password-file={directory.password}",
        f"-tls-cert={directory.certificate}", f"-tls-key={directory.key}", f"-template={places.TEMPLATE}",
    ]  # fmt: skip


@asynccontextmanager
async def _part(
    command: list[str], directory: LabDirectory, name: str, *, wait_for: bytes | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a part with its output in <name>.log; when asked, wait until that shows a certain line."""
    logged = directory.path / f"{name}.log"
    with logged.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            env={"PATH": os.defpath + ":/usr/sbin:/sbin", "TMPDIR": str(directory.path)},
        )  # fmt: skip
    try:
        if wait_for is not None:
            async with asyncio.timeout(READY_LIMIT):
                while wait_for not in logged.read_bytes():
                    if process.returncode is not None:
                        raise PartDiedError(f"{name} did not start: {_end_of(logged)}")
                    await SystemClock().sleep(0.05)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def _end_of(path: Path) -> str:
    return " | ".join(path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])


async def _must_live(name: str, process: asyncio.subprocess.Process) -> None:
    raise PartDiedError(f"{name} ended with status {await process.wait()}")


async def _end_with(leash: int) -> None:
    """End when whoever holds the other end of our standard input does; a detached lab has none."""
    if not os.isatty(leash) and os.fstat(leash).st_rdev == 0:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(leash, "rb", closefd=False)
        )
        await reader.read()
        raise PartDiedError("whoever started this lab has gone")


def main() -> None:
    """Run the supervisor: world.py <lab directory> <number> <rootfs> <vcenter program>."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    directory = LabDirectory(Path(sys.argv[1]))
    run = supervise(directory, int(sys.argv[2]), rootfs=Path(sys.argv[3]), vcenter=Path(sys.argv[4]))
    try:
        asyncio.run(run)
    except* Exception as several:  # noqa: BLE001 - the last one to hear of it
        words = "; ".join(str(fault) for fault in several.exceptions)
        log.error("lab ended", error=words)  # noqa: TRY400 - a sentence, not a stack
        records.write_status(directory, Status(error=words))
        sys.exit(1)


if __name__ == "__main__":
    main()
