"""This file is a host of the data centre that is no machine of ours: an echo, and one that greets and hangs up first.

Run as a program it is that host; imported, it is what puts one on the lab's network. Its network namespace is its own,
so to the appliance it is somebody else.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.lab import places
from gateway.lab.labs import Lab

ADDRESS = "10.213.0.240"
ECHO, GREETER = 7001, 7002
GREETING = b"220 hello\r\n"


@asynccontextmanager
async def neighbour(lab: Lab, heard: Path) -> AsyncIterator[str]:
    """Put the host on the lab's network while the body runs; what the greeter hears goes into `heard`."""
    process = await asyncio.create_subprocess_exec(
        *lab.inside(["unshare", "--net", "--", sys.executable, __file__, str(heard)]), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"ready\n"
        inside = ["nsenter", f"--target={process.pid}", "--net", "--", "ip"]
        for command in (
            [*lab.inside(), "ip", "link", "add", "nb0", "type", "veth", "peer", "name", "nb0i"],
            [*lab.inside(), "ip", "link", "set", "nb0i", "netns", str(process.pid)],
            [*lab.inside(), "ip", "link", "set", "nb0", "master", places.BRIDGE, "up"],
            [*inside, "address", "add", f"{ADDRESS}/{places.NETWORK_BITS}", "dev", "nb0i"],
            [*inside, "link", "set", "nb0i", "up"],
        ):
            await _run(command)
        yield ADDRESS
    finally:
        process.kill()
        await process.communicate()


async def _run(command: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, err = await process.communicate()
    assert process.returncode == 0, (command, err)


async def _serve(heard: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
            writer.close()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(GREETING)
            writer.write_eof()
            said = await reader.read()
            await asyncio.to_thread(heard.write_bytes, said)
            writer.close()

    async with (
        await asyncio.start_server(echo, "0.0.0.0", ECHO, family=socket.AF_INET),  # noqa: S104 - a host of its own
        await asyncio.start_server(greet, "0.0.0.0", GREETER, family=socket.AF_INET) as last,  # noqa: S104
    ):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await last.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
