"""This file is the last look at a machine, run on it: prints what MachineFacts asks for, as JSON."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path


def said(*command: str) -> str:
    """Return what the command prints, or nothing when it is not there or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def operating_system() -> str | None:
    """Return the system's name for people."""
    words = shlex.split(Path("/etc/os-release").read_text())
    return dict(word.split("=", 1) for word in words if "=" in word).get("PRETTY_NAME")


def container_runtime() -> str | None:
    """Return the runtime's name and the version of the one that is running."""
    running = re.search(r"Server:\s+Version:\s+(\S+)", said("ctr", "version"))
    return f"containerd {running.group(1).lstrip('v')}" if running else None


def time_sync() -> str:
    """Return what keeps the clock right, and whether it has done so yet."""
    synchronised = said("timedatectl", "show", "--property=NTPSynchronized", "--value") == "yes"
    how = "synchronised" if synchronised else "not synchronised yet"
    for name in ("chrony", "systemd-timesyncd"):
        if said("systemctl", "is-active", name) == "active":
            return f"{name}, {how}"
    if said("systemd-detect-virt", "--container"):
        return "the host of this container"
    return "nothing: install systemd-timesyncd or chrony in the template"


def memory_mib() -> int:
    """Return the memory the machine sees."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size // 1024 // 1024


found = {
    "os": operating_system(),
    "kernel": os.uname().release,
    "container_runtime": container_runtime(),
    "cpus": len(os.sched_getaffinity(0)),
    "memory_mib": memory_mib(),
    "swap_off": len(Path("/proc/swaps").read_text().splitlines()) <= 1,
    "time_sync": time_sync(),
}
sys.stdout.write(json.dumps(found))
