"""This file is the roads under test: what a user would choose to reach one TCP port behind a closed door.

Each is two programs, one at the console and one at the appliance, and leads from a local port at the console to a
port of the appliance's loopback. Who dials whom is as the product has it.
"""

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.tunnel.load import LoadBrokeError
from benchmarks.tunnel.processes import Place, Processes, free_port, processes
from benchmarks.tunnel.tools import Tools

SETTLE_LIMIT, STEP, QUIET_SHARE = 10.0, 0.2, 0.06
HERE = Path(__file__).parent
ANYWHERE = "0.0.0.0"  # noqa: S104 - in a namespace the other end has another address; outside one, a road is brief


@dataclass(frozen=True)
class Site:
    """Both places and what is used there."""

    tools: Tools
    console: Place
    appliance: Place


@dataclass(frozen=True)
class Ends:
    """The programs of a road, at both ends."""

    console: Processes
    appliance: Processes

    def cpu_seconds(self) -> float:
        return self.console.cpu_seconds() + self.appliance.cpu_seconds()

    def settle(self) -> None:
        """Wait until both have done what was asked of them before, SETTLE_LIMIT seconds at most."""
        give_up = time.monotonic() + SETTLE_LIMIT
        before = self.cpu_seconds()
        while time.monotonic() < give_up:
            time.sleep(STEP)
            after = self.cpu_seconds()
            if after - before <= QUIET_SHARE * STEP:
                return
            before = after

    def memory_mb(self) -> float:
        return self.console.memory_mb() + self.appliance.memory_mb()


class Road(Protocol):
    """One product."""

    name: str

    def missing(self, tools: Tools) -> str | None:
        """Say what is not installed, None when all is there."""

    def start(self, site: Site, ends: Ends, target: int) -> int:
        """Start both ends and return the local port; it is listened on. Raises DidNotStartError."""


@dataclass(frozen=True)
class Laid:
    """A road that is there."""

    port: int
    ends: Ends


@contextmanager
def laid(road: Road, site: Site, target: int) -> Iterator[Laid]:
    """Have the road for the body."""
    word = road.name.replace(" ", "-")
    with (
        processes(site.tools.directory / f"{word}-console.log") as console,
        processes(site.tools.directory / f"{word}-appliance.log") as appliance,
    ):
        ends = Ends(console, appliance)
        try:
            yield Laid(road.start(site, ends, target), ends)
        except LoadBrokeError as fault:
            raise LoadBrokeError(
                f"{fault}\nconsole: {console.last_words()}\nappliance: {appliance.last_words()}"
            ) from fault


class Stunnel:
    """The console's end dials; one TLS connection for each stream."""

    name = "stunnel"

    def missing(self, tools: Tools) -> str | None:
        return None if tools.installed("stunnel4") else "stunnel4 is not installed"

    def start(self, site: Site, ends: Ends, target: int) -> int:
        local, between = free_port(), free_port()
        far = self._configuration(site.tools, "far", f"accept = {between}", f"connect = 127.0.0.1:{target}")
        far_end = f"{site.appliance.address}:{between}"
        near = self._configuration(
            site.tools, "near", "client = yes", f"accept = 127.0.0.1:{local}", f"connect = {far_end}"
        )
        program = str(site.tools.installed("stunnel4"))
        ends.appliance.start(site.appliance, [program, far])
        ends.appliance.await_port(site.appliance, between)
        ends.console.start(site.console, [program, near])
        ends.console.await_port(site.console, local)
        return local

    def _configuration(self, tools: Tools, name: str, *lines: str) -> str:
        path = tools.directory / f"stunnel-{name}.conf"
        certificates = tools.certificates
        common = [
            "foreground = yes", "pid =", "debug = err", "socket = l:TCP_NODELAY=1", "socket = r:TCP_NODELAY=1",
            "[road]",
            f"CAfile = {certificates.authority}", f"cert = {certificates.certificate}", f"key = {certificates.key}",
            "verifyChain = yes", "sslVersionMin = TLSv1.3",
        ]  # fmt: skip
        path.write_text("\n".join([*common, *lines, ""]))
        return str(path)


class Ssh:
    """`ssh -R`, dialled by the appliance; all streams in one TCP connection."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self._options = options

    def missing(self, tools: Tools) -> str | None:
        return None if tools.installed("sshd") and tools.installed("ssh") else "openssh-server is not installed"

    def start(self, site: Site, ends: Ends, target: int) -> int:
        local, between = free_port(), free_port()
        directory = site.tools.directory
        key = self._key(directory)
        configuration = directory / "sshd.conf"
        configuration.write_text(
            f"Port {between}\nListenAddress {ANYWHERE}\nHostKey {key}\nAuthorizedKeysFile {key}.pub\nPidFile none\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        server = str(site.tools.installed("sshd"))
        ends.console.start(site.console, [server, "-D", "-e", "-f", str(configuration)])
        ends.console.await_port(site.console, between)
        user = pwd.getpwuid(os.getuid()).pw_name
        ends.appliance.start(
            site.appliance,
            [
                "ssh", "-N", "-F", "none", "-i", key, *self._options,
                "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
                "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes",
                "-R", f"127.0.0.1:{local}:127.0.0.1:{target}", "-p", str(between), f"{user}@{site.console.address}",
            ],
        )  # fmt: skip
        ends.appliance.await_port(site.console, local)
        return local

    def _key(self, directory: Path) -> str:
        key = directory / "ssh-key"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-N", "", "-f", str(key)], check=True)
        return str(key)


class Chisel:
    """A reverse tunnel over a WebSocket, dialled by the appliance; SSH inside TLS."""

    name = "chisel"

    def missing(self, tools: Tools) -> str | None:
        return None if tools.installed("chisel") else "it could not be built"

    def start(self, site: Site, ends: Ends, target: int) -> int:
        local, between = free_port(), free_port()
        certificates = site.tools.certificates
        program = str(site.tools.installed("chisel"))
        tls = [
            "--tls-ca", str(certificates.authority), "--tls-cert", str(certificates.certificate),
            "--tls-key", str(certificates.key),
        ]  # fmt: skip
        ends.console.start(
            site.console, [program, "server", "--host", ANYWHERE, "--port", str(between), "--reverse", *tls]
        )
        ends.console.await_port(site.console, between)
        reverse = f"R:127.0.0.1:{local}:127.0.0.1:{target}"
        ends.appliance.start(
            site.appliance, [program, "client", *tls, f"https://{site.console.address}:{between}", reverse]
        )
        ends.appliance.await_port(site.console, local)
        return local


class Wstunnel:
    """The console's end dials; one WebSocket for each stream."""

    name = "wstunnel"

    def missing(self, tools: Tools) -> str | None:
        return None if tools.installed("wstunnel") and tools.installed("node") else "`npm install` did not get it"

    def start(self, site: Site, ends: Ends, target: int) -> int:
        local, between = free_port(), free_port()
        tools = site.tools
        files = tools.certificates
        preload = str(HERE / "wstunnel_tls.cjs")
        program = [str(tools.installed("node")), "--require", preload, str(tools.installed("wstunnel"))]
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "BENCHMARK_CERTIFICATES": f"{files.authority}:{files.certificate}:{files.key}",
        }
        ends.appliance.start(
            site.appliance, [*program, "-s", f"{ANYWHERE}:{between}", "-t", f"127.0.0.1:{target}"], environment
        )
        ends.appliance.await_port(site.appliance, between)
        way = f"127.0.0.1:{local}:127.0.0.1:{target}"
        ends.console.start(
            site.console, [*program, "-t", way, f"wss://{site.appliance.address}:{between}"], environment
        )
        ends.console.await_port(site.console, local)
        return local
