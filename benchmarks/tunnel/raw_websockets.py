"""This file is the plain `websockets` library with mutual TLS: one WebSocket, 64 KiB messages, no TCP at either end.

`python -m benchmarks.tunnel.raw_websockets AUTHORITY CERTIFICATE KEY WARM SECONDS` prints MB/s up and down as JSON.
The other end is this file too, started with `--far PORT`.
"""

import asyncio
import json
import ssl
import sys
import time

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve

MESSAGE = bytes(64 * 1024)


def context(files: list[str], side: ssl.Purpose) -> ssl.SSLContext:
    made = ssl.create_default_context(side, cafile=files[0])
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(files[1], files[2])
    return made


async def received(connection: Connection, *, warm: float, seconds: float) -> float:
    """Return MB/s."""
    begin = time.monotonic() + warm
    while time.monotonic() < begin:
        await connection.recv()
    begin, count = time.monotonic(), 0
    while time.monotonic() < begin + seconds:
        count += len(await connection.recv())
    return count / (time.monotonic() - begin) / 1e6


async def send_for(connection: Connection, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await connection.send(MESSAGE)


async def near(files: list[str], warm: float, seconds: float) -> None:
    """Measure both directions with a far end of its own."""
    done: asyncio.Future[dict[str, float]] = asyncio.get_running_loop().create_future()

    async def both(connection: ServerConnection) -> None:
        up = await received(connection, warm=warm, seconds=seconds)
        while await connection.recv() != "turn":
            pass
        await send_for(connection, warm + seconds + 0.2)
        await connection.send("turn")
        done.set_result({"up": up, "down": float(await connection.recv())})

    options = {"compression": None, "ping_interval": None}
    async with serve(both, "127.0.0.1", 0, ssl=context(files, ssl.Purpose.CLIENT_AUTH), **options) as server:  # type: ignore[arg-type]
        port = next(iter(server.sockets)).getsockname()[1]
        words = [sys.executable, "-m", "benchmarks.tunnel.raw_websockets", *files, str(warm), str(seconds)]
        other = await asyncio.create_subprocess_exec("setpriv", "--pdeathsig", "KILL", *words, "--far", str(port))
        try:
            async with asyncio.timeout(3 * (warm + seconds) + 20):
                print(json.dumps(await done))
        finally:
            other.kill()
            await other.wait()


async def far(files: list[str], warm: float, seconds: float, port: int) -> None:
    tls = context(files, ssl.Purpose.SERVER_AUTH)
    url = f"wss://localhost:{port}"
    async with connect(url, ssl=tls, compression=None, ping_interval=None, proxy=None) as connection:
        await send_for(connection, warm + seconds + 0.2)
        await connection.send("turn")
        down = await received(connection, warm=warm, seconds=seconds)
        while await connection.recv() != "turn":
            pass
        await connection.send(str(down))


if __name__ == "__main__":
    *files, warm, seconds = sys.argv[1:6]
    if len(sys.argv) > 6:
        asyncio.run(far(files, float(warm), float(seconds), int(sys.argv[7])))
    else:
        asyncio.run(near(files, float(warm), float(seconds)))
