"""This file is the foreign end of a session: the Go program, held by JSON lines on its standard input and output."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.interop.credentials import Credentials
from tests.interop.material import PIECE, Received

ANSWER_LIMIT = 60.0
END_LIMIT = 10.0


class ForeignError(Exception):
    """The Go program could not do what it was told; the message is hashicorp's or its own."""


class Foreign:
    """A Peer in another process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def open(self, preamble: str | None) -> tuple[int, str]:
        told = await self._tell("open", preamble=preamble)
        return told["stream"], told.get("reply", "")

    async def send(self, stream: int, count: int, *, piece: int = PIECE) -> None:
        await self._tell("send", stream=stream, bytes=count, piece=piece)

    async def receive(self, stream: int, count: int = -1) -> Received:
        told = await self._tell("receive", stream=stream, bytes=count)
        return Received(told["count"], told["sha256"], told["ended"])

    async def read_text(self, stream: int) -> str:
        text: str = (await self._tell("read-text", stream=stream))["text"]
        return text

    async def finish(self, stream: int) -> None:
        await self._tell("finish", stream=stream)

    async def ping(self) -> float:
        """Measure a round trip, in seconds."""
        seconds: float = (await self._tell("ping"))["seconds"]
        return seconds

    async def go_away(self) -> None:
        await self._tell("go-away")

    async def streams(self) -> int:
        count: int = (await self._tell("streams"))["count"]
        return count

    async def let_read(self) -> None:
        await self._tell("let-read")

    async def wait_closed(self) -> str:
        why: str = (await self._tell("wait-closed"))["why"]
        return why

    async def leave(self) -> None:
        """Close the session and end the program."""
        await _ended(self._process)

    async def _tell(self, what: str, **more: object) -> dict[str, Any]:
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"id": number, "do": what, **more}).encode() + b"\n")
        async with asyncio.timeout(ANSWER_LIMIT):
            told = await self._waiting[number]
        if "error" in told:
            raise ForeignError(told["error"])
        return told

    async def said(self) -> dict[str, Any]:
        """Read the program's next line, while nobody reads answers."""
        assert self._process.stdout
        async with asyncio.timeout(ANSWER_LIMIT):
            line = await self._process.stdout.readline()
        told: dict[str, Any] = json.loads(line or '{"error": "the program has ended"}')
        if "error" in told:
            raise ForeignError(told["error"])
        return told

    async def read_answers(self) -> None:
        """Hand answers to whoever waits for them, until the program ends."""
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            self._answer(told.get("id", 0), told)
        for number in list(self._waiting):
            self._answer(number, {"error": "the program has ended"})

    def _answer(self, number: int, told: dict[str, Any]) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(told)


@asynccontextmanager
async def console(program: Path, credentials: Credentials, **options: object) -> AsyncIterator[tuple[str, Foreign]]:
    """Run the program as console, for one session; yield where to dial, and the peer."""
    async with _running(program, "listen", credentials.named("console"), options) as (told, foreign):
        yield f"wss://127.0.0.1:{told['port']}/", foreign


@asynccontextmanager
async def appliance(program: Path, credentials: Credentials, url: str, **options: object) -> AsyncIterator[Foreign]:
    """Run the program as appliance, dialling `url`; yield the connected peer."""
    dialling = _running(program, "dial", credentials.named("appliance"), {"url": url, **options})
    async with dialling as (_, foreign):
        yield foreign


@asynccontextmanager
async def _running(
    program: Path, mode: str, files: tuple[Path, Path, Path], options: dict[str, object]
) -> AsyncIterator[tuple[dict[str, Any], Foreign]]:
    named = dict(zip(("certificate", "key", "trust"), files, strict=True)) | options
    flags = [f"-{name.replace('_', '-')}={value}" for name, value in named.items()]
    process = await asyncio.create_subprocess_exec(
        program,
        mode,
        *flags,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    foreign = Foreign(process)
    try:
        told = await foreign.said()
        async with asyncio.TaskGroup() as group:
            group.create_task(foreign.read_answers())
            try:
                yield told, foreign
            finally:
                await _ended(process)
    finally:
        await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Let the program go in peace, or kill it."""
    assert process.stdin
    process.stdin.close()
    try:
        async with asyncio.timeout(END_LIMIT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
