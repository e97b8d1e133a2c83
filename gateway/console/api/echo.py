"""This file is the echo: a WebSocket that anybody may open to see whether the road to the console carries one.

It is for `pcg doctor`. An appliance's own port is no place to measure on: whoever opens a session there with the
appliance's certificate takes the place of the running one. Here nothing is known of who calls, nothing is kept, and
what one caller can cost is bounded in number, in rate, in bytes and in time.

::

    binary message      the same back
    text "down N"       N bytes in binary messages
    text "up N"         the next binary messages are counted, not sent back; after N bytes: text "took N"
"""

import asyncio
import re
from dataclasses import dataclass

from aiohttp import WSCloseCode, WSMsgType, web

from gateway.console.api import nest
from gateway.console.api.models import Nothing
from gateway.console.api.problems import UpgradeMissingError
from gateway.console.api.routes import Call

SUBPROTOCOL = "pcg.echo.v1"
PATH = "/api/v1/echo"
MESSAGE_LIMIT = 128 * 1024
BUDGET = 32 * 1024 * 1024
"""Bytes that one connection may move, both directions together."""
LIFE = 900.0
STUCK = 30.0
"""Seconds after which a caller that takes nothing is let go."""
PIECE = 64 * 1024
WISH = re.compile(r"(up|down) ([0-9]{1,9})", re.ASCII)
COST = 64
"""What a message costs of the budget beside its bytes: empty ones are not free."""


async def echo(call: Call[Nothing, Nothing, Nothing]) -> web.WebSocketResponse:
    """Send back what is sent, to try the road."""
    nest.refuse_inside(call)
    echoes = call.rooms.echoes
    with echoes.seat(call.address, now=call.rooms.clock.monotonic()):
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), max_msg_size=MESSAGE_LIMIT, compress=False, timeout=5.0
        )
        if not socket.can_prepare(call.request):
            raise UpgradeMissingError("this path is a WebSocket: ask for one, or look for what takes Upgrade away")
        await socket.prepare(call.request)
        echoes.sockets.add(socket)
        try:
            async with asyncio.timeout(LIFE):
                await _Echo(socket).run()
        except (ConnectionError, TimeoutError):
            if call.request.transport is not None:
                call.request.transport.abort()
        finally:
            echoes.sockets.discard(socket)
    return socket


@dataclass(slots=True)
class _Echo:
    socket: web.WebSocketResponse
    left: int = BUDGET
    counting: int = 0
    counted: int = 0

    async def run(self) -> None:
        """Answer until the caller goes, says what is not understood, or has moved its budget."""
        async for message in self.socket:
            understood = (
                await self._answer(message.data)
                if message.type is WSMsgType.BINARY
                else message.type is WSMsgType.TEXT and await self._wish(message.data)
            )
            if not understood:
                await self.socket.close(
                    code=WSCloseCode.POLICY_VIOLATION, message=b"not understood, or over the budget"
                )

    async def _answer(self, content: bytes) -> bool:
        if not self._spend(len(content)):
            return False
        if not self.counting:
            return self._spend(len(content)) and await self._send(content)
        self.counted += len(content)
        if self.counted >= self.counting:
            taken, self.counting, self.counted = self.counted, 0, 0
            async with asyncio.timeout(STUCK):
                await self.socket.send_str(f"took {taken}")
        return True

    async def _wish(self, text: str) -> bool:
        wish = WISH.fullmatch(text)
        if wish is None or int(wish[2]) == 0 or self.counting:
            return False
        amount = int(wish[2])
        if amount > self.left:
            return False
        if wish[1] == "up":
            self.counting = amount
            return True
        self.left -= amount
        while amount > 0:
            await self._send(bytes(min(PIECE, amount)))
            amount -= PIECE
        return True

    async def _send(self, content: bytes) -> bool:
        async with asyncio.timeout(STUCK):
            await self.socket.send_bytes(content)
        return True

    def _spend(self, amount: int) -> bool:
        self.left -= amount + COST
        return self.left >= 0
