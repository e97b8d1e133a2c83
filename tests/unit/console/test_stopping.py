"""This file is how a console begins and stops: what it takes of the machine, and how it sends people home."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.console import daemon
from gateway.console.api import door
from gateway.tunnel.roads import DialError
from gateway.tunnel.session import Session
from gateway.tunnel.stream import Stream
from tests.fakes.console import Console, paired_appliance, running_console
from tests.fakes.targets import data_of, exchanged, reach, tunnel


async def reached(session: Session) -> Stream:
    """Open a stream, once the console has taken the data session in."""
    async with asyncio.timeout(10):
        while True:
            stream, reply = await reach(session)
            if reply.status == "ok":
                return stream


async def test_a_console_that_stops_sends_new_callers_away_and_lets_open_streams_end(tmp_path: Path) -> None:
    async with AsyncExitStack() as running:
        console = await running.enter_async_context(running_console(tmp_path / "console"))
        data = await data_of(await paired_appliance(console))
        async with data.open() as inbound, tunnel(console) as session, asyncio.TaskGroup() as group:
            stream = await reached(session)
            stopping = group.create_task(running.aclose())
            async with asyncio.timeout(10):
                await inbound.going_away.wait()
            with pytest.raises(DialError) as caught:
                async with data.appliance.dialled():
                    pass
            assert caught.value.facts["status"] == 503
            assert caught.value.facts["retry_after"]
            assert await exchanged(stream, b"still here") == b"still here"
            async with asyncio.timeout(10):
                await stopping


@pytest.fixture
def few_files() -> Iterator[int]:
    """Let this process open few files; yield how many it might."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_console_takes_as_many_open_files_as_it_may_have(few_files: int) -> None:
    daemon.take_descriptors()
    wished = daemon.DESCRIPTORS if few_files == resource.RLIM_INFINITY else min(few_files, daemon.DESCRIPTORS)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wished, few_files)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HANDSHAKE_LIMIT", 0.2)


@pytest.mark.attack(13)
@pytest.mark.usefixtures("impatient")
async def test_who_does_not_open_tls_at_the_api_is_given_up(console: Console) -> None:
    port = int(console.reached.api.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(5):
            assert await reader.read() == b""
    finally:
        writer.close()
        await writer.wait_closed()
