"""This file is what a console that is killed leaves behind: what it has answered for, and nothing half-done."""

import asyncio
import json
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.console.settings import ConsoleSettings
from gateway.contract.pairing import PairingResult
from gateway.identity import tls, tokens
from gateway.kit.connector import Connector
from tests.fakes.console import Console, Reached, ShiftedClock, candidate, cluster, finish, token, trust

ROUNDS = 4
PROGRAM = (sys.executable, "-c", "from gateway.console.commands import app; app()", "run")


@asynccontextmanager
async def console_process(state: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, Reached]]:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("--state", str(state), "--listen", "127.0.0.1", "--api-port", "0", "--tunnel-port", "0"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process, await ready(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process: asyncio.subprocess.Process) -> Reached:
    assert process.stderr
    async with asyncio.timeout(60):
        while line := await process.stderr.readline():
            said = json.loads(line)
            if said["event"] == "console ready":
                return Reached(said["api"], said["tunnel"], said["pin"])
    raise AssertionError("the console ended before it was ready")


@asynccontextmanager
async def client(state: Path, reached: Reached) -> AsyncIterator[Console]:
    settings = ConsoleSettings(state=state)
    connector = Connector(trust(settings))
    async with aiohttp.ClientSession(reached.api, connector=connector) as http:
        yield Console(reached, settings, ShiftedClock(), http, (state / "admin.key").read_text().strip())


async def pair(console: Console) -> PairingResult:
    said = await finish(console, tokens.parse(await token(console)), candidate()[0])
    return PairingResult.model_validate(said.body)


@pytest.mark.timeout(180)
async def test_a_console_killed_while_it_writes_keeps_what_it_answered_and_nothing_half_done(tmp_path: Path) -> None:
    state, answered = tmp_path / "console", set[str]()
    for number in range(ROUNDS):
        async with console_process(state) as (process, reached), client(state, reached) as console:
            if number == 0:
                await pair(console)
            await wish_until_killed(console, process, answered, prefix=f"r{number}")
        check(state / "console.sqlite", answered)

    async with console_process(state) as (_, reached), client(state, reached) as console:
        listed = (await console.ask("GET", "/api/v1/projects/default/clusters")).body["items"]
    assert answered <= {one["name"] for one in listed}
    assert len(answered) >= ROUNDS


async def wish_until_killed(
    console: Console, process: asyncio.subprocess.Process, answered: set[str], *, prefix: str
) -> None:
    async def wish(lane: int) -> None:
        for number in range(1000):
            name = f"{prefix}-{lane}-{number}"
            try:
                said = await console.put(cluster(name))
            except (aiohttp.ClientError, OSError):
                return
            assert said.status == 202
            answered.add(name)

    async with asyncio.TaskGroup() as group:
        for lane in range(3):
            group.create_task(wish(lane))
        await asyncio.sleep(0.2 + random.random() * 0.5)
        process.send_signal(signal.SIGKILL)


def check(path: Path, answered: set[str]) -> None:
    """Look with SQLite's own eyes: sound, and each cluster with exactly the command that its row names."""
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        names = {row[0] for row in database.execute("SELECT name FROM clusters")}
        matched = database.execute(
            "SELECT clusters.name FROM clusters JOIN commands ON commands.id = clusters.last_command_id"
        )
        assert {row[0] for row in matched} == names
        seqs = [row[0] for row in database.execute("SELECT seq FROM commands ORDER BY seq")]
        assert seqs == list(range(1, len(seqs) + 1))
        assert seqs[-1] == database.execute("SELECT last_seq FROM gateways").fetchone()[0]
    database.close()
    assert answered <= names


async def test_a_console_told_to_stop_ends_well_and_soon(tmp_path: Path) -> None:
    async with console_process(tmp_path / "console") as (process, _):
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0


async def test_no_secret_is_in_what_the_console_logs_or_leaves_readable(tmp_path: Path) -> None:
    state = tmp_path / "console"
    async with console_process(state) as (process, reached), client(state, reached) as console:
        text = await token(console)
        await console.ask("GET", "/api/v1/whoami", key=console.key + "x")
        result = await pair_with(console, text)
        process.send_signal(signal.SIGTERM)
        _, logged = await process.communicate()
    secrets = [console.key.rpartition("_")[2], text.split("_")[1], console.key]

    assert result.gateway_name == "dc1"
    for path in [one for one in state.rglob("*") if one.is_file() and one.name != "admin.key"]:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in secrets), path
    assert not any(secret.encode() in logged for secret in secrets)
    assert {path.name for path in state.rglob("*") if path.is_file() and path.stat().st_mode & 0o077} <= {
        "lock",
        "server.pem",
        "authority.pem",
    }


async def pair_with(console: Console, text: str) -> PairingResult:
    said = await finish(console, tokens.parse(text), candidate()[0])
    result = PairingResult.model_validate(said.body)
    assert tls.client("".join(result.bundle.roots))
    return result
