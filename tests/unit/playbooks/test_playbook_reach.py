"""This file is what waiting for a machine that boots promises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.playbooks.hostkeys import forget
from gateway.playbooks.port import PlaybookUnreachableError, Target
from gateway.playbooks.reach import until_all_answer
from tests.fakes.clock import HandClock

HERE = [Target("demo-workers-0", "127.0.0.1")]


@asynccontextmanager
async def greeting(*greetings: bytes) -> AsyncIterator[int]:
    """Serve one greeting to each caller, the last one to all that follow."""
    left = list(greetings)

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_machine_that_greets_as_ssh_does_is_there() -> None:
    async with greeting(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        await until_all_answer(HERE, port=port, within=5, clock=HandClock())


async def test_a_machine_that_is_still_booting_is_asked_again() -> None:
    async with greeting(b"", b"Exceeded MaxStartups\r\n", b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        clock = HandClock()
        await until_all_answer(HERE, port=port, within=5, clock=clock)
    assert clock.seconds == 1.0


async def test_a_machine_that_never_answers_is_named() -> None:
    async with greeting(b"") as port:
        with pytest.raises(PlaybookUnreachableError, match="demo-workers-0 does not answer on port"):
            await until_all_answer(HERE, port=port, within=0.05, clock=HandClock())


def test_the_host_key_of_a_removed_machine_is_forgotten_and_no_others(tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("demo-workers-1 ssh-ed25519 A\ndemo-workers-10 ssh-ed25519 B\ndemo-workers-1 ssh-rsa C\n")

    forget(known, "demo-workers-1")

    assert known.read_text() == "demo-workers-10 ssh-ed25519 B\n"
    forget(tmp_path / "never written", "demo-workers-1")
