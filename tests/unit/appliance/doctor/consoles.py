"""This file is consoles for the doctor's tests: real ones, ones with something wrong, and how they are examined."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from gateway.appliance.doctor import subject
from gateway.appliance.doctor.examination import Examination, Patience, Result
from gateway.appliance.doctor.findings import Check
from gateway.appliance.doctor.subject import Subject
from gateway.appliance.identity import Identity
from gateway.appliance.pairing import pair
from gateway.appliance.settings import ApplianceSettings
from gateway.kit import files
from gateway.kit.clock import Clock, SystemClock
from tests.fakes.console import Console, token
from tests.fakes.proxies import listening

QUICK = Patience(connect=2.0, handshake=10.0, answer=10.0, hold=0.2)


def settings(state: Path, **chosen: object) -> ApplianceSettings:
    return ApplianceSettings(state=state, **chosen)  # type: ignore[arg-type]


async def paired(console: Console, tmp_path: Path, **chosen: object) -> Subject:
    """Pair an appliance with a running console and return what its doctor examines."""
    state = files.make_private_directory(tmp_path / "appliance")
    await pair(Identity.open(state), await token(console))
    return subject.paired(settings(state, **chosen))


async def examined(
    one: Subject, patience: Patience = QUICK, *, clock: Clock | None = None
) -> tuple[dict[Check, Result], Examination]:
    examination = Examination(one, clock or SystemClock(), patience)
    results = await examination.run(began=lambda _: None, told=lambda _: None)
    return {result.check: result for result in results}, examination


def found(results: dict[Check, Result]) -> dict[str, str]:
    return {check.value: result.finding for check, result in results.items()}


def elsewhere(one: Subject, port: int) -> Subject:
    """The same console, its API at another port of loopback."""
    return replace(one, console=f"https://127.0.0.1:{port}", api=replace(one.api, host="127.0.0.1", port=port))


@asynccontextmanager
async def inspecting(shows: ssl.SSLContext, port: Callable[[], int]) -> AsyncIterator[int]:
    """Run what opens TLS, shows its own certificate, and passes on what it has read to loopback's `port`."""
    outward = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outward.check_hostname, outward.verify_mode = False, ssl.CERT_NONE

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(shows)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port(), ssl=outward)
        try:
            async with asyncio.TaskGroup() as group:
                ways = [group.create_task(_carry(reader, far_writer)), group.create_task(_carry(far_reader, writer))]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
        finally:
            far_writer.transport.abort()

    async with listening(serve) as own:
        yield own


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await source.read(64 * 1024):
            sink.write(piece)
            await sink.drain()


@asynccontextmanager
async def answering(shows: ssl.SSLContext, answer: bytes) -> AsyncIterator[int]:
    """Run an HTTPS server that answers everything with these bytes and then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(shows)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with listening(serve) as port:
        yield port
