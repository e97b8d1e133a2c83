"""This file is the promises of the appliance as a whole, against a whole console in this process."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.appliance import daemon, streams
from gateway.appliance.audit import AuditLog
from gateway.appliance.identity import Identity, NotPairedError
from gateway.appliance.lockdown import Lockdown
from gateway.appliance.policy.reading import PolicyFile, of_profile
from gateway.appliance.resolving import Dialler
from gateway.appliance.settings import ApplianceSettings
from gateway.appliance.targets import Target, Targets
from gateway.audit import judging
from gateway.audit.lines import Act, parsed
from gateway.commands import steps
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState
from gateway.commands.work import Work
from gateway.contract.commands import Command
from gateway.contract.policy import Profile
from gateway.kit import files
from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError
from gateway.kit.files import AlreadyRunningError
from gateway.kit.secretfile import SecretUnreadableError
from gateway.tunnel.session import Session
from gateway.tunnel.stream import Stream
from tests.fakes.console import Console, cluster, running_console, token
from tests.fakes.targets import exchanged, reach, tunnel
from tests.fakes.wishes import an_apply
from tests.unit.appliance.conversation import ScriptedConsole
from tests.unit.appliance.opening import Lookup, echo, nobody


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


def settings_in(tmp_path: Path, *, token_file: Path | None = None) -> ApplianceSettings:
    return ApplianceSettings(
        state=tmp_path / "state",
        artifacts=tmp_path,
        token_file=token_file,
        reconnect_first=0.01,
        reconnect_cap=0.05,
    )


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not there():  # noqa: ASYNC110 - what is waited for happens behind the daemon's own door
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running_appliance(
    settings: ApplianceSettings, *, policy: Profile | None = Profile.OPERATE
) -> AsyncIterator[None]:
    """Run the appliance as `pcg appliance run` does; leaving sends it SIGTERM and waits for its end.

    `policy` is the profile that the site has chosen, if it has chosen one.
    """
    if policy is not None:
        PolicyFile(files.make_private_directory(settings.state)).write(of_profile(policy))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(daemon.run(settings))
        stops = signal.getsignal(signal.SIGTERM)
        await until(lambda: task.done() or signal.getsignal(signal.SIGTERM) is not stops)
        try:
            yield
        finally:
            if not task.done():
                os.kill(os.getpid(), signal.SIGTERM)
                async with asyncio.timeout(20):
                    await asyncio.wait([task])


@pytest.mark.parametrize("token_file", [None, "not-there"])
async def test_without_pairing_and_token_the_appliance_says_what_to_do(tmp_path: Path, token_file: str | None) -> None:
    with pytest.raises(NotPairedError, match="pcg token create") as caught:
        await daemon.run(settings_in(tmp_path, token_file=tmp_path / token_file if token_file else None))
    assert caught.value.code == "appliance.not_paired"


async def test_an_empty_token_file_is_named_and_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "token", "\n")
    with pytest.raises(SecretUnreadableError, match="is empty"):
        await daemon.run(settings_in(tmp_path, token_file=path))
    assert path.exists()


async def test_the_token_is_used_at_the_first_start_and_then_removed(tmp_path: Path, console: Console) -> None:
    path = written(tmp_path / "token", await token(console))
    async with running_appliance(settings_in(tmp_path, token_file=path)):
        assert not path.exists()
        paired = Identity.open(tmp_path / "state").paired()
    assert paired is not None
    assert paired.gateway_name == "dc1"


async def test_a_token_that_is_refused_is_kept_for_another_try(tmp_path: Path, console: Console) -> None:
    path = written(tmp_path / "token", "pcgreg1_mangled")
    with pytest.raises(Exception, match="damaged or cut short"):
        await daemon.run(settings_in(tmp_path, token_file=path))
    assert path.exists()
    assert Identity.open(tmp_path / "state").paired() is None


async def test_a_token_left_over_by_a_cut_is_removed_at_the_next_start(tmp_path: Path) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(files.make_private_directory(tmp_path / "state")))
    path = written(tmp_path / "token", "pcgreg1_left-over")
    async with running_appliance(settings_in(tmp_path, token_file=path)):
        assert not path.exists()


async def test_a_second_daemon_on_one_state_directory_is_refused_and_the_first_lives_on(tmp_path: Path) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(files.make_private_directory(tmp_path / "state")))
    async with running_appliance(settings_in(tmp_path)):
        with pytest.raises(AlreadyRunningError):
            await daemon.run(settings_in(tmp_path))
    async with running_appliance(settings_in(tmp_path)):
        pass


async def test_an_appliance_that_was_paired_and_no_more_lets_the_console_look_and_no_more(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(command: Command, work: Work) -> None:
        pytest.fail("it was carried out")

    monkeypatch.setattr(daemon, "handlers", lambda _tools: handler)
    settings = settings_in(tmp_path, token_file=written(tmp_path / "token", await token(console)))
    async with running_appliance(settings, policy=None):
        assert (await console.put(cluster())).status in {200, 201, 202}
        await until(lambda: bool(_refused(settings)))
    assert PolicyFile(settings.state).read().policy.profile is Profile.OBSERVE
    assert "profile observe" in str(_refused(settings)[0].facts["message"])


def _refused(settings: ApplianceSettings) -> list[Act]:
    entries = [parsed(line) for _, line in AuditLog(settings.state, clock=SystemClock()).lines()]
    return [one.act for one in entries if one is not None and one.act.action == "command.refused"]


async def test_a_lockdown_cuts_command_stream_and_link_in_under_a_second_and_all_goes_on_after_it(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, running = 0, asyncio.Event()

    async def handler(command: Command, work: Work) -> None:
        nonlocal attempts
        attempts += 1
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            running.clear()

    monkeypatch.setattr(daemon, "handlers", lambda _tools: handler)
    monkeypatch.setattr(daemon, "CONSOLE_FIRST", 0.0)
    monkeypatch.setattr(streams, "Dialler", partial(Dialler, look_up=Lookup(), deny=(), own=nobody))
    settings = settings_in(tmp_path, token_file=written(tmp_path / "token", await token(console)))
    targets, locked = Targets(files.make_private_directory(settings.state) / "targets"), Lockdown(settings.state)
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server, running_appliance(settings):
        port = server.sockets[0].getsockname()[1]
        targets.write("echo", Target(host="echo.test", port=port, allow=("127.0.0.0/8",)))
        assert (await console.put(cluster())).status in {200, 201, 202}
        async with tunnel(console) as road, asyncio.timeout(60):
            stream = await opened(road, "echo")
            await running.wait()
            began = time.monotonic()
            locked.ask()
            await until(lambda: locked.is_held)
            assert not running.is_set()
            with contextlib.suppress(GatewayError):
                assert not await stream.read()
            assert time.monotonic() - began < 1.0
            _, away = await reach(road, "echo")
            assert away.status == "refused"
            locked.release()
            await running.wait()
            assert await exchanged(await opened(road, "echo"), b"x") == b"xbye"
    assert attempts == 2


async def test_a_command_of_the_console_is_carried_out(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Command] = []

    async def handler(command: Command, work: Work) -> None:
        ran.append(command)

    monkeypatch.setattr(daemon, "handlers", lambda _tools: handler)
    path = written(tmp_path / "token", await token(console))
    async with running_appliance(settings_in(tmp_path, token_file=path)):
        said = await console.put(cluster())
        assert said.status in {200, 201, 202}, said
        await until(lambda: bool(ran))
    assert ran[0].task.kind == "cluster.apply"


async def test_sigterm_stops_within_seconds_and_a_running_command_goes_on_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = files.make_private_directory(tmp_path / "state")
    ScriptedConsole(tmp_path / "console").pair(Identity.open(state))
    command, attempts, begun, cleaned = an_apply(uuid4()), 0, False, False

    async def handler(command: Command, work: Work) -> None:
        nonlocal attempts, begun, cleaned
        attempts += 1
        async with work.step(steps.bringing("long", "Take long")):
            if attempts == 1:
                try:
                    begun = True
                    await asyncio.Event().wait()
                finally:
                    cleaned = True

    def has_ended() -> bool:
        with closing(sqlite3.connect(f"file:{state}/journal.db?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT count(*) FROM entries WHERE kind = 'Ended'").fetchone()[0])

    monkeypatch.setattr(daemon, "handlers", lambda _tools: handler)
    monkeypatch.setattr(daemon, "CONSOLE_FIRST", 0.0)
    async with Journal.open(state / "journal.db", clock=SystemClock()) as journal:
        await journal.accept(command)
    began = time.monotonic()
    async with running_appliance(settings_in(tmp_path)):
        await until(lambda: begun)
    assert time.monotonic() - began < 5
    assert cleaned
    async with Journal.open(state / "journal.db", clock=SystemClock()) as journal:
        assert journal.ledger.record(command.id).state is CommandState.RUNNING
    async with running_appliance(settings_in(tmp_path)):
        await until(has_ended)
    assert attempts == 2
    async with Journal.open(state / "journal.db", clock=SystemClock()) as journal:
        assert journal.ledger.record(command.id).state is CommandState.ENDED


async def test_a_user_reaches_a_target_through_a_whole_console_and_a_whole_appliance(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path, token_file=written(tmp_path / "token", await token(console)))
    targets = Targets(files.make_private_directory(settings.state) / "targets")
    monkeypatch.setattr(streams, "Dialler", partial(Dialler, look_up=Lookup(), deny=(), own=nobody))
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server, running_appliance(settings):
        port = server.sockets[0].getsockname()[1]
        targets.write("echo", Target(host="echo.test", port=port, allow=("127.0.0.0/8",)))
        async with tunnel(console) as road:
            stream = await opened(road, "echo")
            assert await exchanged(stream, b"x" * 500_000) == b"x" * 500_000 + b"bye"
            _, denied = await reach(road, "gone")
        log = AuditLog(settings.state, clock=SystemClock())
        await until(lambda: len(list(log.lines())) == 3)
    assert denied.code == "target.unknown"
    first, *_ = [parsed(line) for _, line in log.lines()]
    assert first
    assert (first.act.facts["user"], first.act.facts["tenant"], log.verify().broken) == ("admin", "default", None)


async def opened(road: Session, target: str) -> Stream:
    """Open a stream as soon as the console has heard of the target and the appliance's data session is there."""
    async with asyncio.timeout(20):
        while True:
            stream, reply = await reach(road, target)
            if reply.status == "ok":
                return stream
            stream.reset()
            assert reply.code in {"target.unknown", "gateway.unknown", "gateway.away", "gateway.disconnected"}, reply
            await asyncio.sleep(0.05)


async def test_the_audit_log_is_signed_when_the_appliance_stops_and_has_gone_to_its_file(tmp_path: Path) -> None:
    state, copy = files.make_private_directory(tmp_path / "state"), tmp_path / "copy.jsonl"
    identity = Identity.open(state)
    ScriptedConsole(tmp_path / "console").pair(identity)
    log = AuditLog(state, clock=SystemClock())
    log.append([Act("stream.refused", "refused", {"user": "ada"})])
    settings = settings_in(tmp_path).model_copy(update={"audit_file": copy})
    async with running_appliance(settings):
        await until(lambda: copy.exists() and b"stream.refused" in copy.read_bytes())
        await until(lambda: bool(log.roots()))
        log.append([Act("target.added", "ok", {"target": "web"})])
    found = judging.judge(log.lines, log.roots(), only=(identity.device().public_pem,))
    assert [root.why for root in log.roots()] == ["day", "stop"]
    assert (found.broken, found.proven) == (None, 3)
