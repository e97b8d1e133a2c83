"""This file is each machine's own group in every cgroup hierarchy.

systemd-nspawn gives a container a cgroup namespace, rooted where its launcher stands. A launcher in the root
group would make all machines' kubelets meet in one `/kubepods`; so it stands in

    /sys/fs/cgroup/<hierarchy>/pcg-lab/<name>-<number>/<machine>      (v1, one for each hierarchy)
    /sys/fs/cgroup/pcg-lab/<name>-<number>/<machine>                  (v2)

A dead lab's groups are empty directories, which `sweep` removes.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from gateway.kit.clock import Clock

MOUNT = Path("/sys/fs/cgroup")
HOUSE = "pcg-lab"
ATTEMPTS = 20
SWEEP_LIMIT = 10.0
INHERITED = ("cpuset.cpus", "cpuset.mems")


def hierarchies() -> list[Path]:
    """Return the mount point of every cgroup hierarchy of this machine."""
    if (MOUNT / "cgroup.controllers").exists():
        return [MOUNT]
    return [path for path in sorted(MOUNT.iterdir()) if path.is_dir() and not path.is_symlink() and path.is_mount()]


def make(lab: str, machine: str) -> list[Path]:
    """Make the machine's group in each hierarchy and return them; groups that are there already are fine."""
    return [_make_in(hierarchy, (HOUSE, lab, machine)) for hierarchy in hierarchies()]


def _make_in(hierarchy: Path, parts: Sequence[str]) -> Path:
    for _ in range(ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):  # another lab's end has just removed the empty house
            group = hierarchy
            for part in parts:
                parent, group = group, group / part
                group.mkdir(exist_ok=True)
                _inherit(parent, group)
            return group
    raise FileNotFoundError(f"{hierarchy / HOUSE} is removed as fast as it is made")


def _inherit(parent: Path, group: Path) -> None:
    """Fill what is empty at first in a v1 cpuset group, which accepts no process before it is told where to run."""
    for name in INHERITED:
        if (group / name).exists():
            (group / name).write_text((parent / name).read_text(encoding="ascii"), encoding="ascii")


async def sweep(lab: str, machine: str = "", *, clock: Clock) -> None:
    """Remove the groups of a lab, or of one machine, waiting for the last processes to leave them."""
    deadline = clock.monotonic() + SWEEP_LIMIT
    while left := [group for group in _groups(lab, machine) if not _removed(group)]:
        if clock.monotonic() > deadline:
            raise TimeoutError(f"processes still live in {left[0]}")
        await clock.sleep(0.05)
    for hierarchy in hierarchies():
        with contextlib.suppress(OSError):
            (hierarchy / HOUSE).rmdir()  # fails while another lab has groups there


def _groups(lab: str, machine: str) -> list[Path]:
    return [
        group for hierarchy in hierarchies() if (group := hierarchy / HOUSE / lab / machine).exists()
    ]  # fmt: skip


def _removed(group: Path) -> bool:
    for path, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()
    return not group.exists()
