"""This file is `pcg` as its own process, against a whole console, for the command line's tests."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.console import Console, running_console


@dataclass(frozen=True)
class Answer:
    """What `pcg` ended with."""

    code: int | None
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class User:
    """Somebody with a shell, and a console within reach."""

    console: Console
    directory: Path

    async def begins(self, *arguments: str, **streams: Any) -> asyncio.subprocess.Process:  # noqa: ANN401
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli", *arguments),
            env={"PATH": os.defpath, "PCG_CONFIG": str(self.directory / "config"), "LC_ALL": "C.UTF-8"},
            stdin=streams.get("stdin", asyncio.subprocess.DEVNULL),
            stdout=streams.get("stdout", asyncio.subprocess.PIPE),
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_heed_ctrl_c,
        )

    async def pcg(self, *arguments: str, stdin: str | None = None) -> Answer:
        process = await self.begins(
            *arguments, stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(None if stdin is None else stdin.encode())
        return Answer(process.returncode, out.decode(), err.decode())

    @property
    def pin(self) -> str:
        return self.console.reached.pin

    def is_signed_in(self) -> None:
        """Leave behind what `pcg login` remembers."""
        document = {
            "url": self.console.reached.api,
            "trust": (self.console.settings.state / "authority" / "authority.pem").read_text(),
            "project": "default",
            "key": self.console.key,
        }
        (self.directory / "config").mkdir(mode=0o700)
        (self.directory / "config" / "session.json").write_text(json.dumps(document))


def _heed_ctrl_c() -> None:
    """Undo what a shell does to what it starts in the background: Ctrl-C would be ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
async def user(tmp_path: Path) -> AsyncIterator[User]:
    state = tmp_path / "console"
    async with running_console(state) as console:
        yield User(console, tmp_path)
