"""This file is the processes of a benchmark: where they run, what they cost, and that none is left behind.

Each is started under `setpriv --pdeathsig KILL`, so it ends with the benchmark however that ends.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
START_LIMIT = 15.0
PAUSE = 0.02


class DidNotStartError(Exception):
    """A program ended, or did not listen in time."""


@dataclass(frozen=True)
class Place:
    """Where programs run: this machine, or a network namespace; `address` is how the other place reaches it."""

    address: str = "127.0.0.1"
    namespace_of: int | None = None

    def command(self, argv: list[str]) -> list[str]:
        """Return `argv` as it is run here."""
        inside = [] if self.namespace_of is None else ["nsenter", f"--net=/proc/{self.namespace_of}/ns/net"]
        return ["setpriv", "--pdeathsig", "KILL", *inside, *argv]

    def listens(self, port: int) -> bool:
        """Tell whether somebody in this place listens on a TCP port, without connecting to it."""
        owner = "self" if self.namespace_of is None else str(self.namespace_of)
        wanted = f":{port:04X}"
        lines = [
            line.split()
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/{owner}/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        ]
        return any(words[1].endswith(wanted) and words[3] == "0A" for words in lines)


@dataclass
class Processes:
    """Programs that belong together, such as one end of a road; they end when the `with` block does."""

    log: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, place: Place, argv: list[str], environment: dict[str, str] | None = None) -> None:
        """Start a program that says nothing we wait for."""
        with self.log.open("a") as log:
            self.running.append(
                subprocess.Popen(
                    place.command(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True,
                    start_new_session=True, env=environment,
                )
            )  # fmt: skip

    def await_port(self, place: Place, port: int) -> None:
        """Wait until `port` is listened on in `place`. Raises DidNotStartError."""
        give_up = time.monotonic() + START_LIMIT
        while not place.listens(port):
            if time.monotonic() > give_up or any(one.poll() is not None for one in self.running):
                raise DidNotStartError(f"nobody listens on port {port}; its log says: {self.last_words()}")
            time.sleep(PAUSE)

    def last_words(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-600:].strip() or "nothing"

    def pids(self) -> list[int]:
        """Return the programs started here and everything they started."""
        children: dict[int, list[int]] = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(status.read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            children.setdefault(parent, []).append(int(status.parent.name))
        found = [one.pid for one in self.running]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far, user and system, ended children included."""
        return sum(_cpu_seconds(pid) for pid in self.pids())

    def memory_mb(self) -> float:
        """Return the resident memory in MB; what forked processes share counts for each."""
        return sum(_resident(pid) for pid in self.pids()) / 1e6

    def end(self) -> None:
        """Kill everything and wait for it."""
        for pid in reversed(self.pids()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for one in self.running:
            one.wait()
        self.running.clear()


@contextmanager
def processes(log: Path) -> Iterator[Processes]:
    """Own processes for the body; their output goes to `log`."""
    made = Processes(log)
    log.write_text("")
    try:
        yield made
    finally:
        made.end()


def free_port() -> int:
    """Return a TCP port of loopback that nobody has."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port


def _cpu_seconds(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(word) for word in words[11:15]) / TICKS


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
