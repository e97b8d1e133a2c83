"""This file is the whole road of a stream: `pcg`, a console, an appliance's service, a target; and both audit logs."""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.appliance.audit import AuditLog
from gateway.appliance.auditor import Auditor
from gateway.appliance.reach import DENY
from gateway.appliance.resolving import Dialler
from gateway.appliance.streams import StreamService
from gateway.appliance.targets import Target, Targets
from gateway.audit.lines import Entry, parsed
from gateway.contract.streams import SESSION_PARAMETER
from gateway.kit import files
from gateway.tunnel.dataline import dial_data
from tests.fakes.console import Appliance, paired_appliance
from tests.unit.cli.conftest import User
from tests.unit.cli.test_forwarding import forwarding

CONTENT = secrets.token_bytes(16 * 1024 * 1024)


@dataclass
class Place:
    """An appliance that is connected, and what it has written down."""

    log: AuditLog

    def entries(self) -> list[Entry]:
        return [entry for _, line in self.log.lines() if (entry := parsed(line))]

    async def entry(self, action: str) -> Entry:
        """Wait until there is an entry of that action and return the first."""
        async with asyncio.timeout(10):
            while not (found := [one for one in self.entries() if one.act.action == action]):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.02)
        return found[0]


@asynccontextmanager
async def target(*, greets: bytes = b"") -> AsyncIterator[int]:
    """Listen on loopback: greet, end if there was a greeting, and answer all that comes with itself otherwise."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            if greets:
                writer.write(greets)
                writer.write_eof()
            while piece := await reader.read(65536):
                if not greets:
                    writer.write(piece)
                    await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def appliance_with(user: User, directory: Path, *, port: int, denying: bool = False) -> AsyncIterator[Place]:
    """Run the streams of an appliance that offers "web"; unless it is `denying` it may reach loopback, as none may."""
    user.is_signed_in()
    paired: Appliance = await paired_appliance(user.console)
    files.make_private_directory(directory)
    targets = Targets(directory / "targets")
    targets.write("web", Target(host="web.lab", port=port, allow=("127.0.0.0/8",)))
    log = AuditLog(directory, clock=user.console.clock)
    dialler = Dialler(look_up=lambda _: ["127.0.0.1"], deny=DENY if denying else (), own=lambda _: False)
    with Auditor(log.append) as audit, contextlib.closing(dialler):
        service = StreamService(
            gateway=paired.paired.gateway_id, targets=targets, audit=audit, dialler=dialler, clock=user.console.clock
        )
        async with paired.connected(protocol=2, targets=("web",)) as line:
            assert line.welcome is not None
            service.welcomed(line.welcome, asked=user.console.clock.monotonic())
            session = str(uuid4())
            url = f"{paired.paired.tunnel}?{SESSION_PARAMETER}={session}"
            async with dial_data(url, tls=paired.tls, on_stream=service.taker(session)):
                yield Place(log)


async def test_sixteen_mebibytes_go_both_ways_byte_for_byte_and_both_logs_agree(user: User, tmp_path: Path) -> None:
    async with (
        target() as port,
        appliance_with(user, tmp_path / "appliance", port=port) as place,
        forwarding(user, "-o", "json") as forward,
    ):
        back = await forward.through(CONTENT)
        closed = await forward.event("closed")
        there = await place.entry("stream.closed")

    assert hashlib.sha256(back).digest() == hashlib.sha256(CONTENT).digest()
    ended, began = (await user.console.ask("GET", "/api/v1/audit?action=tunnel.stream")).body["items"]
    assert (began["outcome"], ended["outcome"]) == ("began", "ended")
    size = len(CONTENT)
    assert (closed["sent"], closed["received"], closed["fault"]) == (size, size, None)
    assert (ended["facts"]["sent"], ended["facts"]["received"]) == (size, size)
    assert (there.act.facts["received"], there.act.facts["sent"]) == (size, size)
    assert there.act.facts["trace"] == ended["facts"]["trace"]


async def test_a_target_that_ends_first_still_hears_the_rest(user: User, tmp_path: Path) -> None:
    async with (
        target(greets=b"220 hello") as port,
        appliance_with(user, tmp_path / "appliance", port=port) as place,
        forwarding(user) as forward,
        forward.connected() as (reader, writer),
    ):
        assert await reader.read() == b"220 hello"
        writer.write(b"still talking")
        writer.write_eof()
        there = await place.entry("stream.closed")

    assert (there.act.facts["received"], there.act.facts.get("fault")) == (len(b"still talking"), None)


@pytest.mark.attack(10)
async def test_a_target_that_may_not_be_reached_is_refused_at_the_end_that_knows(user: User, tmp_path: Path) -> None:
    async with (
        target() as port,
        appliance_with(user, tmp_path / "appliance", port=port, denying=True) as place,
        forwarding(user) as forward,
    ):
        assert await forward.through(b"") == b""
        said = await forward.complaint()
        there = await place.entry("stream.refused")

    (refused, began) = (await user.console.ask("GET", "/api/v1/audit?action=tunnel.stream")).body["items"]
    assert (began["outcome"], refused["outcome"]) == ("began", "refused")
    assert there.act.facts["code"] == refused["facts"]["code"]
    assert said.rstrip().endswith(f"[{refused['facts']['code']}]")


async def test_a_target_that_is_down_is_told_as_such(user: User, tmp_path: Path) -> None:
    async with target() as port:
        pass
    async with (
        appliance_with(user, tmp_path / "appliance", port=port),
        forwarding(user) as forward,
    ):
        assert await forward.through(b"") == b""
        assert (await forward.complaint()).rstrip().endswith("[stream.target_unreachable]")
