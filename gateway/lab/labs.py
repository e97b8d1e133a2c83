"""This file is what tests, the demo and the command line know of a lab: raise one, find one, end one.

async with labs.up("trial") as lab:
    await start(lab.inside(["pcg", "appliance", ...]))
    lab.machines()
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError, Remedy
from gateway.lab import cgroups, credentials, launch, network, places, records
from gateway.lab.faults import Faults
from gateway.lab.places import LabDirectory
from gateway.lab.records import Birth, MachineStatus, Process, Status
from gateway.lab.settings import LabSettings

DEFAULT_NAME = "lab"

Say = Callable[[str], None]
"""Takes one line of progress for a person."""


class NoSuchLabError(GatewayError):
    """No lab of that name is up."""

    code = "lab.not_up"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up. Addresses that are not said to be outside hold inside the data centre only."""

    name: str
    number: int
    directory: LabDirectory
    world: Process
    artifacts: Path
    """Packages for machines, and their SHA256SUMS."""
    password: str = field(repr=False)
    thumbprint: str
    """SHA-256 of vCenter's certificate."""

    vcenter_host: str = places.VCENTER_ADDRESS
    user: str = places.USER
    template: str = places.TEMPLATE
    datacenter: str = "DC0"
    cluster: str = "DC0_C0"
    datastore: str = "LocalDS_0"
    network: str = "DC0_DVPG0"

    @property
    def vcenter_url(self) -> str:
        """vCenter as the data centre knows it."""
        return f"https://{self.vcenter_host}"

    @property
    def outside_vcenter_host(self) -> str:
        """vCenter as this machine's root namespace reaches it, which a real data centre would not allow."""
        return places.uplink_inside(self.number)

    @property
    def ca_file(self) -> Path:
        """PEM file to verify vCenter with."""
        return self.directory.certificate

    @property
    def uplink_outside(self) -> str:
        """The root namespace's address on the uplink: what runs in the data centre reaches a console there."""
        return places.uplink_outside(self.number)

    @property
    def uplink_inside(self) -> str:
        """The data centre's address on the uplink."""
        return places.uplink_inside(self.number)

    @property
    def faults(self) -> Faults:
        """The fault rules of this lab's vCenter."""
        return Faults(self.directory.control)

    def inside(self, argv: Sequence[str | Path] = ()) -> list[str]:
        """Return the command that runs `argv` in the data centre's network; files and processes stay the host's.

        A program started so is not the lab's: who started it ends it. NoSuchLabError when the lab has died.
        """
        if not self.world.alive():
            raise NoSuchLabError(f"lab {self.name} has ended; its log is {self.directory.supervisor_log}")
        return ["nsenter", f"--target={self.world.pid}", "--net", "--", *(str(part) for part in argv)]

    def status(self) -> Status:
        """Return what the supervisor last said, or why there is no supervisor."""
        status = records.read_status(self.directory)
        if self.world.alive():
            return status
        return Status(error=status.error or "the supervisor was killed")

    def machines(self) -> list[MachineStatus]:
        """Return all VMs but templates, as the hypervisor sees them."""
        return self.status().machines

    def cut_uplink(self) -> None:
        """Make the uplink swallow every packet, without an error to anyone."""
        network.set_uplink(self.number, self.world.pid, silent=True)

    def restore_uplink(self) -> None:
        """Let the uplink carry packets again."""
        network.set_uplink(self.number, self.world.pid, silent=False)


def attach(name: str = DEFAULT_NAME, *, settings: LabSettings | None = None) -> Lab:
    """Return a lab that is up. NoSuchLabError when there is none of that name."""
    directory = LabDirectory((settings or LabSettings()).state / name)
    birth = records.read_birth(directory)
    if birth is None or birth.world is None or not birth.world.alive():
        raise NoSuchLabError(f"no lab {name} is up: start it with pcg lab up --name {name}")
    return Lab(
        name=name,
        number=birth.number,
        directory=directory,
        world=birth.world,
        artifacts=birth.artifacts,
        password=directory.password.read_text(encoding="ascii").strip(),
        thumbprint=credentials.thumbprint(directory),
    )


@asynccontextmanager
async def up(
    name: str = DEFAULT_NAME, *, settings: LabSettings | None = None, say: Say = lambda _: None
) -> AsyncIterator[Lab]:
    """Have a lab for as long as the body runs, or this process lives. See `launch.start` for errors."""
    chosen = settings or LabSettings()
    await _clear(name, chosen)
    process = await asyncio.to_thread(launch.start, name, chosen, leash=True, say=say)
    try:
        yield attach(name, settings=chosen)
    finally:
        await down(name, settings=chosen)
        if process.stdin:
            process.stdin.close()
        await asyncio.to_thread(process.wait)


async def start(name: str, *, settings: LabSettings | None = None, say: Say) -> Lab:
    """Raise a lab that outlives this process. See `launch.start` for errors."""
    chosen = settings or LabSettings()
    await _clear(name, chosen)
    process = await asyncio.to_thread(launch.start, name, chosen, leash=False, say=say)
    process.returncode = process.returncode or 0  # it is nobody's child from here on
    return attach(name, settings=chosen)


async def down(name: str, *, settings: LabSettings | None = None) -> bool:
    """End a lab, or clear away what a crashed one left; return False when there was nothing.

    Ending is a kill: the kernel takes processes, mounts and namespaces; files, groups and the uplink go here.
    """
    directory = LabDirectory((settings or LabSettings()).state / name)
    if not directory.path.exists():
        return False
    birth = records.read_birth(directory)
    if birth is not None:
        await _end(birth)
    await asyncio.to_thread(shutil.rmtree, directory.path)
    return True


async def _end(birth: Birth) -> None:
    clock = SystemClock()
    if birth.world is not None:
        with suppress(ProcessLookupError):
            launch.kill(birth.world)
        while birth.world.alive():
            await clock.sleep(0.02)
    await cgroups.sweep(places.group_name(birth.name, birth.number), clock=clock)
    network.drop_uplink(birth.number)


def names(settings: LabSettings | None = None) -> list[str]:
    """Return the names of all labs there is a trace of, up or crashed."""
    state = (settings or LabSettings()).state
    return sorted(path.name for path in state.iterdir() if path.is_dir()) if state.is_dir() else []


async def sweep(settings: LabSettings | None = None) -> list[str]:
    """Clear away what crashed labs left and return their names; labs that are up, or coming up, stay."""
    chosen = settings or LabSettings()
    return [name for name in names(chosen) if await _clear(name, chosen)]


async def _clear(name: str, settings: LabSettings) -> bool:
    """Clear away a crashed lab of that name; return whether there was one."""
    directory = LabDirectory(settings.state / name)
    return directory.path.exists() and launch.is_dead(directory) and await down(name, settings=settings)
