"""This file is both ends of our own tunnel as a road under test: TCP in, a stream of the tunnel, TCP out.

    python -m benchmarks.tunnel.ends --loop fast FILES console-end LISTEN PORT LOCAL
    python -m benchmarks.tunnel.ends --loop fast FILES appliance-end ADDRESS PORT TARGET

The console's end accepts the appliance's call on PORT and users on LOCAL; the appliance's end dials and leads each
stream to TARGET on its loopback. Nothing but the tunnel is in it: no grants, no lists of targets, no audit.
"""

import argparse
import asyncio
import contextlib
import socket
import sys
from pathlib import Path

from gateway.identity import tls
from gateway.kit import loops
from gateway.kit.errors import GatewayError
from gateway.tunnel import acceptor, dataline
from gateway.tunnel.channel import Channel
from gateway.tunnel.frames import Reset
from gateway.tunnel.limits import Limits
from gateway.tunnel.session import Session
from gateway.tunnel.splice import splice
from gateway.tunnel.stream import Stream

LOOPBACK = "127.0.0.1"
MESSAGE_LIMIT = 1024 * 1024


class ConsoleEnd:
    """Users in, streams out."""

    def __init__(self, local: int) -> None:
        self._local = local

    async def on_session(self, session: Session, _path: str) -> None:
        """Serve users for as long as the appliance is there."""
        loop = asyncio.get_running_loop()
        with socket.create_server((LOOPBACK, self._local), backlog=1024) as door:
            door.setblocking(False)
            async with asyncio.TaskGroup() as group:
                over = group.create_task(session.closed())
                accepts = group.create_task(self._accept(loop, door, session, group))
                why = await over
                print("session ended:", why.message, flush=True)
                accepts.cancel()

    async def _accept(
        self, loop: asyncio.AbstractEventLoop, door: socket.socket, session: Session, group: asyncio.TaskGroup
    ) -> None:
        while True:
            user, _ = await loop.sock_accept(door)
            group.create_task(self._serve(user, session))

    async def _serve(self, user: socket.socket, session: Session) -> None:
        try:
            stream, _ = await session.open(b"{}")
            await splice(stream, user)
        except (OSError, GatewayError) as fault:
            print("a stream was refused:", fault, flush=True)
        finally:
            user.close()


async def no_commands(channel: Channel) -> None:
    """There are none here."""
    await channel.close()


async def console_end(files: list[Path], listen: str, port: int, local: int) -> None:
    """Run until killed."""
    authority, certificate, key = files
    context = tls.server(certificate, key, clients=authority.read_text())
    end = dataline.DataEnd(ConsoleEnd(local).on_session, limits=Limits())
    async with acceptor.accepting(
        listen, port, tls=context, on_channel=no_commands, message_limit=MESSAGE_LIMIT, data=end
    ):
        await asyncio.Event().wait()


async def appliance_end(files: list[Path], address: str, port: int, target: int) -> None:
    """Run until the session ends, and say why."""
    authority, certificate, key = files
    context = tls.client(authority.read_text(), certificate=certificate, key=key)
    loop = asyncio.get_running_loop()

    async def on_stream(stream: Stream, _preamble: bytes) -> None:
        connected = socket.socket()
        connected.setblocking(False)
        try:
            await loop.sock_connect(connected, (LOOPBACK, target))
        except OSError:
            connected.close()
            stream.reset(Reset.TARGET_UNREACHABLE)
            return
        stream.answer(b"{}")
        with contextlib.closing(connected):
            await splice(stream, connected)

    url = f"wss://{address}:{port}"
    async with dataline.dial_data(url, tls=context, on_stream=on_stream) as session:
        why = await session.closed()
        print("session ended:", why.message, flush=True)


def main() -> None:
    """Run the end that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", type=loops.Loop, default=loops.Loop.FAST)
    parser.add_argument("files", nargs=3, type=Path)
    parser.add_argument("end", choices=["console-end", "appliance-end"])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("other", type=int)
    given = parser.parse_args(sys.argv[1:])
    work = console_end if given.end == "console-end" else appliance_end
    loops.run(work(given.files, given.address, given.port, given.other), kind=given.loop)


if __name__ == "__main__":
    main()
