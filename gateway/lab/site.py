"""This file is the whole product on one machine: a lab, a console outside of it, an appliance inside.

Everything runs as a user would run it: `pcg` as its own processes, told what to do by options and files. The demo
and the end-to-end tests stand on it.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.identity import pinned
from gateway.kit import files
from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError, Remedy
from gateway.lab.labs import Lab

ACCOUNT = "lab"
GATEWAY = "dc1"
READY_LIMIT = 60.0
ASK_EVERY = 0.1
STOP_LIMIT = 30.0


class ProgramFailedError(GatewayError):
    """A program of the site did not come up."""

    code = "site.program_failed"
    remedy = Remedy.DEVELOPER


class SiteStepError(GatewayError):
    """A command that sets the site up has failed."""

    code = "site.step_failed"
    remedy = Remedy.DEVELOPER


@dataclass(frozen=True, slots=True)
class Answer:
    """What a `pcg` command ended with."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Program:
    """A long-running `pcg` process and its log. `ready` is what its log says once it serves."""

    argv: Sequence[str]
    log: Path
    ready: str
    environment: dict[str, str]
    _process: Process | None = None

    @property
    def pid(self) -> int:
        """The running process."""
        if self._process is None:
            raise ProgramFailedError(f"{self.log.stem} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and wait until it serves. Raises ProgramFailedError with the end of its log."""
        before = await asyncio.to_thread(_size, self.log)
        with self.log.open("ab") as log:
            # setpriv: it dies with us, whatever becomes of us.
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", *self.argv),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(READY_LIMIT):
                while self.ready.encode() not in (await asyncio.to_thread(_read_from, self.log, before)):
                    if self._process.returncode is not None:
                        raise ProgramFailedError(f"{self.log.stem} ended: {_tail(self.log)}")
                    await SystemClock().sleep(ASK_EVERY)
        except TimeoutError as fault:
            raise ProgramFailedError(f"{self.log.stem} does not come up: {_tail(self.log)}") from fault

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end, and wait."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_LIMIT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@dataclass(slots=True)
class Site:
    """A console, an appliance and a user's command line around one lab. `directory` holds all they keep."""

    lab: Lab
    directory: Path
    console: Program = field(init=False)
    appliance: Program = field(init=False)

    def __post_init__(self) -> None:
        """Decide how the two programs are run; neither runs yet."""
        self.console = Program(
            argv=self._pcg(
                *("console", "run", "--state", str(self.directory / "console")),
                *("--listen", self.lab.uplink_outside, "--hosts", self.lab.uplink_outside),
            ),
            log=self.directory / "console.log",
            ready="console ready",
            environment=self.environment,
        )
        self.appliance = Program(
            argv=self.lab.inside(
                self._pcg(
                    *("appliance", "run", "--state", str(self.appliance_state)),
                    *("--artifacts", str(self.lab.artifacts), "--token-file", str(self.token_file)),
                )
            ),
            log=self.directory / "appliance.log",
            ready="appliance ready",
            environment=self.environment | {"PCG_APPLIANCE_RECONNECT_CAP": "2"},
        )

    @property
    def url(self) -> str:
        """Where the console's API is."""
        return f"https://{self.lab.uplink_outside}:8443"

    @property
    def appliance_state(self) -> Path:
        """The appliance's state directory."""
        return self.directory / "appliance"

    @property
    def token_file(self) -> Path:
        """The registration token on its way to the appliance."""
        return self.directory / "registration.token"

    @property
    def environment(self) -> dict[str, str]:
        """What every program of the site is given: nothing of ours but where to find programs."""
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "PCG_CONFIG": str(self.directory / "user"),
            "LC_ALL": "C.UTF-8",
        }

    async def pcg(self, *arguments: str, stdin: str = "", inside: bool = False) -> Answer:
        """Run a `pcg` command to its end, as a user outside or, with `inside`, as one in the data centre."""
        argv = self._pcg(*arguments)
        process = await asyncio.create_subprocess_exec(
            *(self.lab.inside(argv) if inside else argv), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=self.environment
        )
        try:
            out, err = await process.communicate(stdin.encode())
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return Answer(process.returncode or 0, out.decode(), err.decode())

    async def must(self, *arguments: str, stdin: str = "", inside: bool = False) -> str:
        """Run a `pcg` command that has to succeed and return its output. Raises SiteStepError."""
        answer = await self.pcg(*arguments, stdin=stdin, inside=inside)
        if answer.code:
            raise SiteStepError(f"pcg {' '.join(arguments[:2])} ended with {answer.code}: {answer.err.strip()}")
        return answer.out

    async def log_in(self) -> None:
        """Sign the user in with the administrator's key."""
        key = self.directory / "console" / "admin.key"
        pin = await asyncio.to_thread(_pin, self.directory / "console")
        await self.must("login", self.url, "--key-file", str(key), "--pin", pin)

    async def create_account(self) -> None:
        """Seal the lab's vCenter account to the gateway, as the user outside."""
        await self.must(
            *("account", "create", "vsphere", ACCOUNT, "--gateway", GATEWAY),
            *("--server", self.lab.vcenter_host, "--user", self.lab.user, "--thumbprint", self.lab.thumbprint),
            *("--password-file", "-"),
            stdin=self.lab.password,
        )

    async def let_operate(self) -> None:
        """Let the console do everything in the data centre; without that it may only look."""
        state = ("--state", str(self.appliance_state))
        await self.must("appliance", "policy", "set", "--profile", "operate", *state, inside=True)

    async def offer_target(self, name: str, host: str, port: int) -> None:
        """Offer a target of the data centre and wait until the console can reach it."""
        state = ("--state", str(self.appliance_state))
        await self.must("appliance", "target", "add", name, host, str(port), *state, inside=True)
        async with asyncio.timeout(READY_LIMIT):
            while True:
                found = json.loads(await self.must("tunnel", "targets", GATEWAY, "--output", "json"))
                if found["reachable"] and name in {one["name"] for one in found["items"]}:
                    return
                await SystemClock().sleep(ASK_EVERY)

    @asynccontextmanager
    async def forwarding(self, target: str) -> AsyncIterator[int]:
        """Run `pcg tunnel forward` as the user outside and yield the local port."""
        argv = self._pcg("tunnel", "forward", GATEWAY, target, "--output", "json")
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "--", *argv, stdin=DEVNULL, stdout=PIPE, env=self.environment
        )
        try:
            async with asyncio.timeout(READY_LIMIT):
                while True:
                    said = json.loads(await _line(process))
                    if said["event"] == "listening":
                        break
            yield int(said["port"])
        finally:
            process.terminate()
            await process.communicate()

    async def make_token(self) -> None:
        """Make a registration token and lay it where the appliance looks for it."""
        token = await self.must("token", "create", GATEWAY)
        await asyncio.to_thread(files.write_whole, self.token_file, token.encode())

    async def until_connected(self) -> None:
        """Wait until the console sees the gateway connected."""
        async with asyncio.timeout(READY_LIMIT):
            while True:
                found = json.loads(await self.must("gateway", "list", "--output", "json"))
                if any(one["status"] == "connected" for one in found["items"]):
                    return
                await SystemClock().sleep(ASK_EVERY)

    def _pcg(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gateway.cli", *arguments]


@asynccontextmanager
async def open_site(lab: Lab, directory: Path) -> AsyncIterator[Site]:
    """Start a console and a paired, connected appliance around a lab; leaving stops both."""
    site = Site(lab, files.make_private_directory(directory))
    try:
        await site.console.start()
        await site.log_in()
        await site.let_operate()
        await site.make_token()
        await site.appliance.start()
        await site.until_connected()
        await site.create_account()
        yield site
    finally:
        await site.appliance.stop()
        await site.console.stop()


def cluster_file(lab: Lab, name: str, *, workers: int) -> str:
    """Return a cluster file for the lab: one control-plane machine and some workers."""
    return f"""\
name: {name}
gateway: {GATEWAY}
cloud:
  account: {ACCOUNT}
  template: {lab.template}
  network: {lab.network}
pools:
  - name: control-plane
    role: control-plane
    count: 1
    cpus: 2
    memory_mib: 2048
  - name: workers
    role: worker
    count: {workers}
    cpus: 1
    memory_mib: 1024
"""


async def _line(process: Process) -> bytes:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise ProgramFailedError("pcg tunnel forward ended before it listened")
    return line


def _pin(console: Path) -> str:
    trust = (console / "authority" / "authority.pem").read_text()
    return pinned.read_authority(trust, source="the console").pin_text


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read_from(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read()


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1][:1000] if lines else "it has said nothing"
