"""This file is a road that two data sessions share inside one program: what one sends the other receives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.tunnel import session as sessions
from gateway.tunnel.carrier import Receiver
from gateway.tunnel.frames import Bytes
from gateway.tunnel.session import OnStream, Session


class Wire:
    """One end; the other is `far`."""

    peer_certificate = b""
    peer_address = "nearby"
    writable = True

    def __init__(self) -> None:
        self.far: Wire
        self._receiver: Receiver | None = None
        self._cut = False

    def begin(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def send(self, pieces: list[Bytes]) -> None:
        message = b"".join(pieces)
        asyncio.get_running_loop().call_soon(self.far.arrive, message)

    def arrive(self, message: bytes) -> None:
        if self._receiver is not None and not self._cut:
            self._receiver.received(message)

    def close(self, code: int, reason: str = "") -> None:
        for end in (self, self.far):
            asyncio.get_running_loop().call_soon(end.lose, reason or str(code))

    def abort(self) -> None:
        self.close(1006)

    def lose(self, reason: str) -> None:
        if self._receiver is not None and not self._cut:
            self._cut = True
            self._receiver.lost(reason)


@asynccontextmanager
async def wired(on_stream: OnStream) -> AsyncIterator[Session]:
    """Yield the console's end of a data session whose appliance's end serves streams with `on_stream`."""
    here, there = Wire(), Wire()
    here.far, there.far = there, here
    async with (
        sessions.running(there, dialler=True, on_stream=on_stream),
        sessions.running(here, dialler=False) as console,
    ):
        yield console
