"""This file is our own tunnel as a road under test, with the event loop that the test names."""

import sys
from pathlib import Path

from benchmarks.tunnel.processes import free_port
from benchmarks.tunnel.roads import ANYWHERE, Ends, Site
from benchmarks.tunnel.tools import Tools

ROOT = Path(__file__).parents[2]


class Ours:
    """Dialled by the appliance; all streams in one WebSocket. `loop` is default, uvloop or fast."""

    def __init__(self, name: str = "ours", *, loop: str = "fast") -> None:
        self.name = name
        self._loop = loop

    def missing(self, tools: Tools) -> str | None:  # noqa: ARG002 - it is here
        return None

    def start(self, site: Site, ends: Ends, target: int) -> int:
        local, between = free_port(), free_port()
        files = site.tools.certificates
        program = [sys.executable, "-m", "benchmarks.tunnel.ends", "--loop", self._loop]
        program += [str(files.authority), str(files.certificate), str(files.key)]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        ends.console.start(site.console, [*program, "console-end", ANYWHERE, str(between), str(local)], environment)
        ends.console.await_port(site.console, between)
        way = ["appliance-end", site.console.address, str(between), str(target)]
        ends.appliance.start(site.appliance, [*program, *way], environment)
        ends.appliance.await_port(site.console, local)
        return local
