"""This file is what a lab promises of itself: it is a world of its own, and it leaves nothing behind."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.lab import cgroups, labs, launch, places, records
from gateway.lab.labs import Lab, NoSuchLabError
from gateway.lab.launch import LabDidNotStartError, LabExistsError
from gateway.lab.settings import LabSettings
from tests.lab.customer import customer, until

pytestmark = pytest.mark.lab


def traces(number: int, directory: Path) -> list[str]:
    """Return everything of a lab that can be found on this machine."""
    found = processes(directory)
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(directory) in line]
    interface = places.uplink_interface(number)
    found += [f"interface {path.name}" for path in Path("/sys/class/net").glob(f"{interface}*")]
    groups = groups_of(number, directory)
    found += [f"group {group}" for group in groups if group.exists()]
    return found + ([f"directory {directory}"] if directory.exists() else [])


def groups_of(number: int, directory: Path) -> list[Path]:
    name = places.group_name(directory.name, number)
    return [hierarchy / cgroups.HOUSE / name for hierarchy in cgroups.hierarchies()]


def processes(directory: Path) -> list[str]:
    """Return the processes of a lab: its directory is in the command line of each."""
    return [f"process {path.name}" for path in Path("/proc").glob("[0-9]*") if _mentions(path, directory)]


def _mentions(process: Path, directory: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.fsencode(directory) in (process / "cmdline").read_bytes() and process.name != str(os.getpid())
    return False


def command_lines() -> list[bytes]:
    """Return what every process of this machine shows to all others."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


async def booting(lab: Lab) -> None:
    """Have a machine in the lab whose system is running."""
    async with customer(lab) as vcenter:
        vcenter.clone("crash", power_on=True)
        await until(lambda: lab.machines() and lab.machines()[0].state in {"booting", "running"})
        await until(lambda: list(lab.directory.machines.glob("*/upper/etc/machine-id")))


@pytest.mark.parametrize("victim", ["outermost", "first", "supervisor"])
async def test_whichever_process_is_killed_everything_dies(settings: LabSettings, victim: str) -> None:
    name = f"killed-{victim}"
    process = await asyncio.to_thread(launch.start, name, settings, leash=True, say=print)
    lab = labs.attach(name, settings=settings)
    await booting(lab)
    groups = groups_of(lab.number, lab.directory.path)
    assert any(group.exists() for group in groups)
    pids = {"outermost": process.pid, "first": lab.world.pid, "supervisor": records.first_child(lab.world.pid)}

    os.kill(pids[victim] or 0, signal.SIGKILL)

    await until(lambda: not lab.world.alive() and not processes(lab.directory.path))
    with pytest.raises(NoSuchLabError):
        labs.attach(name, settings=settings)
    assert lab.status().error
    assert process.stdin
    process.stdin.close()
    process.wait()
    assert name in await labs.sweep(settings)
    assert traces(lab.number, lab.directory.path) == []


async def test_a_crashed_lab_makes_way_for_one_of_the_same_name(settings: LabSettings) -> None:
    async with labs.up("phoenix", settings=settings) as first:
        os.kill(first.world.pid, signal.SIGKILL)
        await until(lambda: not first.world.alive())
        async with labs.up("phoenix", settings=settings) as second:
            assert second.world != first.world
            with pytest.raises(LabExistsError):
                await labs.start("phoenix", settings=settings, say=print)
            assert second.world.alive()
    assert traces(second.number, second.directory.path) == []


async def test_a_lab_that_cannot_start_leaves_nothing(settings: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.vcenter_program, "prepare", lambda *_, **__: Path("/bin/false"))
    with pytest.raises(LabDidNotStartError, match="vcenter did not start"):
        await labs.start("stillborn", settings=settings, say=print)
    assert "stillborn" not in labs.names(settings)
    assert not processes(settings.state / "stillborn")


async def test_a_lab_ends_with_the_program_that_holds_it(settings: LabSettings, tmp_path: Path) -> None:
    script = (
        "import asyncio\nfrom gateway.lab import labs\n"
        "async def main():\n    async with labs.up('held'):\n        print('up', flush=True)\n"
        "        await asyncio.sleep(600)\nasyncio.run(main())\n"
    )
    environment = {**os.environ, "PCG_LAB_STATE": str(settings.state)}  # noqa: TID251 - handed on
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert holder.stdout
    async with asyncio.timeout(60):
        assert await holder.stdout.readline() == b"up\n"
    held = labs.attach("held", settings=settings)

    holder.kill()
    await holder.wait()

    await until(lambda: not held.world.alive())
    assert "held" in await labs.sweep(settings)
    assert traces(held.number, held.directory.path) == []


async def test_two_labs_stand_side_by_side(lab: Lab, settings: LabSettings) -> None:
    async with labs.up("second", settings=settings) as second:
        assert second.number != lab.number
        assert second.password != lab.password
        async with customer(lab) as here, customer(second) as there:
            there.clone("only-there", power_on=False)
            assert [vm.name for vm in there.machines()] == ["only-there"]
            assert here.machines() == []
    assert traces(second.number, second.directory.path) == []
    assert lab.world.alive()


async def test_the_command_line_raises_shows_and_ends_a_lab(settings: LabSettings) -> None:
    environment = {**os.environ, "PCG_LAB_STATE": str(settings.state)}  # noqa: TID251 - handed on

    async def pcg_lab(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "gateway.lab", *words]
        return await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)

    raised = await pcg_lab("up", "--name", "by-hand")
    assert raised.returncode == 0, raised.stderr
    assert "10.213.0.2" in raised.stdout
    again = await pcg_lab("up", "--name", "by-hand")
    assert again.returncode != 0
    assert "lab.already_up" in again.stderr
    shown = await pcg_lab("status", "--name", "by-hand", "--output", "json")
    assert '"ready": true' in shown.stdout
    lab = labs.attach("by-hand", settings=settings)
    ended = await pcg_lab("down", "--name", "by-hand")
    assert ended.returncode == 0
    assert traces(lab.number, lab.directory.path) == []
    assert (await pcg_lab("status", "--name", "by-hand")).returncode != 0


async def test_the_uplink_goes_silent_and_comes_back(lab: Lab) -> None:
    with socket.create_server((lab.uplink_outside, 0)) as console:
        port = console.getsockname()[1]
        dial = (
            "import socket, sys\ntry: socket.create_connection((sys.argv[1], int(sys.argv[2])), 1); print('through')\n"
            "except TimeoutError: print('silence')\n"
        )

        async def tried() -> str:
            process = await asyncio.create_subprocess_exec(
                *lab.inside([sys.executable, "-c", dial, lab.uplink_outside, str(port)]), stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate()
            return output.decode().strip()

        assert await tried() == "through"
        lab.cut_uplink()
        assert await tried() == "silence"
        lab.restore_uplink()
        assert await tried() == "through"


async def test_secrets_are_the_owners_alone(lab: Lab) -> None:
    assert lab.directory.path.stat().st_mode & 0o777 == 0o700
    for path in (lab.directory.password, lab.directory.key):
        assert path.stat().st_mode & 0o777 == 0o600
    assert lab.password not in repr(lab)
    assert not [line for line in command_lines() if lab.password.encode() in line]
