"""This file is a running `pcg tunnel forward`, as tests see it."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Forward:
    """A running `pcg tunnel forward`."""

    process: asyncio.subprocess.Process
    port: int = 0

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            return (await self.process.stdout.readline()).decode()

    async def event(self, wanted: str) -> dict[str, Any]:
        """Read events up to the one that is wanted."""
        while True:
            text = await self.line()
            assert text, f"no {wanted} before the end"
            document: dict[str, Any] = json.loads(text)
            if document["event"] == wanted:
                return document

    async def complaint(self) -> str:
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            return (await self.process.stderr.readline()).decode()

    async def through(self, content: bytes) -> bytes:
        """Send everything on a connection of its own, end, and return what comes back."""
        async with self.connected() as (reader, writer), asyncio.timeout(60), asyncio.TaskGroup() as group:
            answer = group.create_task(reader.read())
            writer.write(content)
            await writer.drain()
            writer.write_eof()
        return answer.result()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Keep a connection of its own open while the body runs."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def ends(self, number: int = signal.SIGINT) -> tuple[int | None, str, str]:
        self.process.send_signal(number)
        async with asyncio.timeout(30):
            out, err = await self.process.communicate()
        return self.process.returncode, out.decode(), err.decode()
