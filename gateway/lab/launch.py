"""This file is how a lab comes up: what it needs is made, its world is born, and vCenter answers."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError, Remedy
from gateway.kit.files import make_private_directory
from gateway.lab import credentials, image, network, prerequisites, records, vcenter_program
from gateway.lab.places import LabDirectory
from gateway.lab.records import Birth, Process
from gateway.lab.settings import LabSettings

READY_LIMIT = 90.0
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


class LabExistsError(GatewayError):
    """A lab of that name is already up."""

    code = "lab.already_up"
    remedy = Remedy.CALLER


class LabNameError(GatewayError):
    """A lab's name is not one."""

    code = "lab.bad_name"
    remedy = Remedy.CALLER


class LabDidNotStartError(GatewayError):
    """A lab died before its vCenter answered."""

    code = "lab.did_not_start"
    remedy = Remedy.OPERATOR


def start(name: str, settings: LabSettings, *, leash: bool, say: Callable[[str], None]) -> "subprocess.Popen[bytes]":
    """Raise lab `name` and return its outermost process once vCenter answers. Blocks; builds what is missing.

    With `leash` the lab lives no longer than this process. Raises LabNameError, LabExistsError,
    PrerequisiteMissingError, ProgramFailedError or LabDidNotStartError; none leaves anything running.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise LabNameError(f"a lab's name is 1 to 31 lower-case letters, digits and dashes, not {name!r}")
    prerequisites.check()
    system = image.prepare(settings.cache, say=say)
    vcenter = vcenter_program.prepare(settings.cache, say=say)
    say(f"starting lab {name}")
    directory = LabDirectory(settings.state / name)
    with _being_started(directory) as undo:
        number = network.claim_uplink()
        undo.callback(network.drop_uplink, number)
        birth = Birth(name=name, number=number, artifacts=system.artifacts)
        records.write_birth(directory, birth)
        credentials.write(directory, number, SystemClock())
        process = _bear(directory, [directory.path, number, system.rootfs, vcenter], leash=leash)
        undo.callback(_put_down, process)
        world = _world_of(process)
        records.write_birth(directory, birth.model_copy(update={"world": world}))
        network.hand_in_uplink(number, world.pid)
        _wait_until_ready(directory, process)
        undo.pop_all()
    return process


def kill(world: Process) -> None:
    """End a lab's world at once. ProcessLookupError when it has ended."""
    if world.alive():
        os.kill(world.pid, signal.SIGKILL)


def is_dead(directory: LabDirectory) -> bool:
    """Say whether a lab's directory is what a crash left: nothing lives there and nobody is starting it."""
    try:
        with _lock(directory):
            birth = records.read_birth(directory)
            return birth is None or birth.world is None or not birth.world.alive()
    except BlockingIOError:
        return False


@contextmanager
def _being_started(directory: LabDirectory) -> Iterator[ExitStack]:
    """Hold the lab's name and make its directory; what is put on the stack is undone if the body fails."""
    make_private_directory(directory.path.parent)
    try:
        with _lock(directory), ExitStack() as undo:
            directory.path.mkdir(mode=0o700)
            undo.callback(shutil.rmtree, directory.path, ignore_errors=True)
            yield undo
    except (BlockingIOError, FileExistsError) as fault:
        raise LabExistsError(
            f"lab {directory.name} is already up: attach to it, or end it with pcg lab down --name {directory.name}",
            lab=directory.name,
        ) from fault


@contextmanager
def _lock(directory: LabDirectory) -> Iterator[None]:
    """Hold a lab's name for as long as the body runs. BlockingIOError when somebody else does."""
    with (directory.path.parent / f".{directory.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _put_down(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin:
        process.stdin.close()
    process.kill()
    process.wait()


def _bear(directory: LabDirectory, arguments: Sequence[object], *, leash: bool) -> "subprocess.Popen[bytes]":
    words = [str(argument) for argument in arguments]
    command = [*UNSHARE, sys.executable, "-m", "gateway.lab.first", "-m", "gateway.lab.world", *words]
    with directory.supervisor_log.open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE if leash else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def _world_of(process: "subprocess.Popen[bytes]") -> Process:
    """Return process 1 of the new world, which unshare forks after it has made the namespaces."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        child = records.first_child(process.pid)
        if child is not None:
            return Process.of(child)
        time.sleep(0.005)
    raise LabDidNotStartError("the kernel refuses new namespaces: run as root outside of a restricted container")


def _wait_until_ready(directory: LabDirectory, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_LIMIT
    while time.monotonic() < deadline:
        status = records.read_status(directory)
        if status.ready:
            return
        if status.error is not None or process.poll() is not None:
            raise LabDidNotStartError(f"the lab did not start: {status.error or _tail(directory.supervisor_log)}")
        time.sleep(0.05)
    raise LabDidNotStartError(f"vCenter did not answer within {READY_LIMIT:.0f} s; see {directory.supervisor_log}")


def _tail(path: Path) -> str:
    return " | ".join(path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])
