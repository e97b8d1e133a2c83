"""This file is what a Linux machine must have before a lab can stand on it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from gateway.kit.errors import GatewayError, Remedy

PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "depmod": "kmod",
    "ssh": "openssh-client",
}
"""Programs the lab runs, each with the Debian package that brings it."""

PACKAGES = tuple(sorted(set(PROGRAMS.values())))
"""Debian packages to install, for the Makefile: `python -m gateway.lab.prerequisites`."""

GO_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")
GO_OLDEST = (1, 25)


class PrerequisiteMissingError(GatewayError):
    """This machine lacks something that a lab needs."""

    code = "lab.prerequisite_missing"
    remedy = Remedy.OPERATOR


def check() -> None:
    """Raise PrerequisiteMissingError, naming everything that is missing and the command that installs it."""
    if os.geteuid() != 0:
        raise PrerequisiteMissingError("a lab makes namespaces, mounts and bridges, so it needs root: run it with sudo")
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        names = " ".join(missing)
        raise PrerequisiteMissingError(f"the lab needs {names}: apt-get install --yes {names}", packages=names)
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        raise PrerequisiteMissingError("the lab needs overlay file systems in the kernel: modprobe overlay")


def go_program() -> str:
    """Return the path of a Go tool that is new enough; only asked for when vCenter has to be built.

    An old one that comes first on PATH, such as Debian 12's own, does not hide a newer one beside it.
    """
    wanted = ".".join(str(part) for part in GO_OLDEST)
    on_path = shutil.which("go")
    found = {place: _go_version(place) for place in (on_path, *GO_PLACES) if place and Path(place).exists()}
    for place, version in found.items():
        if version >= GO_OLDEST:
            return place
    seen = "; ".join(f"{place} is {'.'.join(map(str, version))}" for place, version in found.items())
    raise PrerequisiteMissingError(
        f"building the lab's vCenter needs Go {wanted} or newer{f' ({seen})' if seen else ''}: "
        "see https://go.dev/doc/install"
    )


def _go_version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in re.findall(r"\d+", said)[:2])


if __name__ == "__main__":
    print(" ".join(PACKAGES))  # noqa: T201 - its output is its purpose
