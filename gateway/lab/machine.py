"""This file is one machine: a disk, a network, and a real Linux system that boots on them.

disk      overlay: the image below, the machine's own directory above, which lives as long as the VM
boot      systemd-nspawn, in the machine's network namespace and cgroups
end       a clean shutdown first, the plug after `SHUTDOWN_LIMIT`
"""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError
from gateway.lab import cgroups, guestinfo, network, programs
from gateway.lab.eye import VmHardware

SHUTDOWN_LIMIT = 12.0
KEPT_FROM_MACHINES = "CAP_SYS_TIME,CAP_SYS_MODULE,CAP_WAKE_ALARM"
ALLOWED_CALLS = "@keyring bpf perf_event_open"
INTO_GROUPS = 'while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs"; shift; done; shift; exec "$@"'
"""A shell that puts itself into the cgroups named before `--` and becomes the command behind it."""


class MachineDidNotBootError(GatewayError):
    """A machine's system could not be started."""

    code = "lab.machine_did_not_boot"


@dataclass(frozen=True, slots=True)
class Ground:
    """What all machines of a lab stand on."""

    group: str
    """The name of the lab's cgroups."""
    rootfs: Path
    modules: Path
    machines: Path


@dataclass(frozen=True, slots=True)
class Disk:
    """A machine's directory: what was written stays until `remove`."""

    path: Path

    @property
    def root(self) -> Path:
        """Where the machine's file system is mounted while it runs."""
        return self.path / "root"

    @property
    def containerd(self) -> Path:
        """The machine's /var/lib/containerd: a plain directory, for an overlay cannot lie on an overlay."""
        return self.path / "containerd"

    @property
    def guestinfo(self) -> Path:
        """What cloud-init reads."""
        return self.path / "guestinfo.env"

    @asynccontextmanager
    async def mounted(self, rootfs: Path) -> AsyncIterator[Path]:
        """Mount the disk; an empty one is made where there is none."""
        for name in ("upper", "work", "root", "containerd"):
            (self.path / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        options = f"lowerdir={rootfs},upperdir={self.path / 'upper'},workdir={self.path / 'work'}"
        await programs.run_soon(["mount", "-t", "overlay", "overlay", "-o", options, self.root])
        try:
            yield self.root
        finally:
            await programs.run_soon(["umount", "--lazy", self.root])

    def remove(self) -> None:
        """Delete everything the machine has written."""
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass(slots=True)
class Guest:
    """A system that runs."""

    name: str
    root: Path
    process: asyncio.subprocess.Process

    async def address(self) -> str | None:
        """Return the first global IPv4 address of the machine's first interface, or None while it has none."""
        with contextlib.suppress(programs.ProgramFailedError):
            shown = await programs.run_soon(
                ["ip", "-n", self.name, "-4", "-o", "address", "show", "dev", "eth0", "scope", "global"]
            )
            words = shown.split()
            if "inet" in words:
                return words[words.index("inet") + 1].partition("/")[0]
        return None

    def hostname(self) -> str | None:
        """Return the name the machine has given itself, or None before it has."""
        with contextlib.suppress(OSError):
            return (self.root / "etc/hostname").read_text(encoding="utf-8").strip() or None
        return None

    async def end(self) -> None:
        """Shut the system down; pull the plug when it takes too long."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUTDOWN_LIMIT):
                    await self.process.wait()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def booted(moid: str, hardware: VmHardware, ground: Ground, *, clock: Clock) -> AsyncIterator[Guest]:
    """Boot machine `moid`; at the end of the body it is shut down and only its disk is left."""
    disk = Disk(ground.machines / moid)
    async with contextlib.AsyncExitStack() as stack:
        root = await stack.enter_async_context(disk.mounted(ground.rootfs))
        stack.push_async_callback(network.disconnect, moid)
        namespace = await network.connect(moid, hardware.macs)
        disk.guestinfo.touch(mode=0o600)
        disk.guestinfo.write_text(guestinfo.environment_file(hardware.extra_config), encoding="utf-8")
        groups = cgroups.make(ground.group, moid)
        stack.push_async_callback(cgroups.sweep, ground.group, moid, clock=clock)
        launcher = ["sh", "-c", INTO_GROUPS, "sh", *map(str, groups), "--"]
        with (disk.path / "console.log").open("ab") as console:
            process = await asyncio.create_subprocess_exec(
                *launcher,
                *_nspawn(moid, hardware, disk, namespace=namespace, modules=ground.modules),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        guest = Guest(moid, root, process)
        stack.push_async_callback(guest.end)
        yield guest


def _nspawn(moid: str, hardware: VmHardware, disk: Disk, *, namespace: Path, modules: Path) -> list[str]:
    return [
        # nspawn joins the namespace by itself too, but mounts /sys before it does, and then a
        # machine would see the data centre's interfaces there
        "nsenter", f"--net={namespace}", "--",
        "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe",
        f"--directory={disk.root}", f"--machine={moid}", "--hostname=localhost",
        f"--uuid={hardware.uuid.replace('-', '')}", f"--network-namespace-path={namespace}",
        "--capability=all", f"--drop-capability={KEPT_FROM_MACHINES}", f"--system-call-filter={ALLOWED_CALLS}",
        f"--bind={disk.containerd}:/var/lib/containerd", f"--bind-ro={modules}:/lib/modules",
        f"--bind-ro={disk.guestinfo}:/run/lab/guestinfo.env",
        "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--kill-signal=SIGRTMIN+3",
    ]  # fmt: skip
