"""This file is the tunnel as a user opens it: a WebSocket of streams, each of which reaches one target.

::

    user's program                console                           appliance
      | == WebSocket, Bearer key ==> |                                  |
      | -- stream: UserPreamble ---> | checked, audited, granted        |
      |                              | -- stream: StreamPreamble -----> |
      | <------------- StreamReply - | <------------------ StreamReply -|
      | <======================== bytes, joined =====================>  |

The handshake is aiohttp's. Then the transport is taken over, and the same mux runs on it as on an appliance's session.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog
from aiohttp import web

from gateway.console.api.models import Nothing
from gateway.console.api.problems import UpgradeMissingError
from gateway.console.api.routes import Call
from gateway.console.auth import NotSignedInError
from gateway.console.streams import StreamRefusedByGatewayError, Streams
from gateway.console.trail import Visitor
from gateway.contract import streams as contract
from gateway.kit.errors import GatewayError
from gateway.tunnel.engine import Engine
from gateway.tunnel.handshake import SUBPROTOCOL
from gateway.tunnel.limits import MIB, Limits
from gateway.tunnel.session import Session, running
from gateway.tunnel.splice import join
from gateway.tunnel.stream import Stream, farewell

PATH = "/api/v1/tunnel"
LIMITS = Limits(streams=256, unanswered=64, budget=16 * MIB)
RECHECK = 3.0
"""Seconds after which the key is looked at again: a revoked one is cut off within five."""
POLICY = 1008

log = structlog.get_logger(__name__)


async def open_tunnel(call: Call[Nothing, Nothing, Nothing]) -> web.WebSocketResponse:
    """Open a tunnel: a WebSocket (pcg.yamux.v1) whose streams reach targets."""
    visitor = Visitor(call.caller, call.address)
    with call.rooms.tunnels.seat(visitor.caller.key_id):
        socket = _TakenOver(protocols=(SUBPROTOCOL,), compress=False)
        if socket.can_prepare(call.request).protocol != SUBPROTOCOL:
            raise UpgradeMissingError(f"this path is a WebSocket that speaks {SUBPROTOCOL}: ask for that")
        await socket.prepare(call.request)
        visit = _Visit(call.rooms.streams, visitor)
        async with running(_engine(call.request), dialler=False, on_stream=visit.serve, limits=LIMITS) as session:
            with call.rooms.tunnels.known(session):
                log.info("tunnel of a user opened", user=visitor.caller.user, address=visitor.address)
                await _until_over(session, call)
        await call.rooms.streams.tell_the_rest(visitor)
    return socket


class _TakenOver(web.WebSocketResponse):
    """A WebSocket on whose transport somebody else goes on speaking."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Say nothing: there is nothing left to speak on."""


def _engine(request: web.Request) -> Engine:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the caller has gone")
    # Nothing is lost between the two: a client speaks only after it has read our answer, which was sent just now.
    engine = Engine(transport, dialler=False)
    engine.after_lost = request.protocol.connection_lost
    return engine


async def _until_over(session: Session, call: Call[Nothing, Nothing, Nothing]) -> None:
    while True:
        try:
            async with asyncio.timeout(RECHECK):
                reason = await session.closed()
        except TimeoutError:
            if not await _is_welcome(call):
                # The streams first: the good-bye may wait for the other side.
                session.end_tasks()
                await session.close(POLICY, NotSignedInError.code)
                return
        else:
            log.info("tunnel of a user closed", user=call.caller.user, reason=reason.message)
            return


async def _is_welcome(call: Call[Nothing, Nothing, Nothing]) -> bool:
    try:
        await call.rooms.doorkeeper.recheck(call.caller)
    except NotSignedInError as fault:
        log.warning("tunnel of a user cut off", user=call.caller.user, key=call.caller.key_id, reason=fault.message)
        return False
    except GatewayError as fault:
        log.warning("a key could not be looked at", key=call.caller.key_id, code=fault.code, reason=fault.message)
    return True


@dataclass(frozen=True, slots=True)
class _Visit:
    streams: Streams
    visitor: Visitor

    async def serve(self, stream: Stream, preamble: bytes) -> None:
        """Join a user's stream with one that reaches the target, or answer why not."""
        async with AsyncExitStack() as stack:
            try:
                onward = await stack.enter_async_context(self.streams.opened(self.visitor, preamble))
            except GatewayError as fault:
                reply = fault.reply if isinstance(fault, StreamRefusedByGatewayError) else contract.refusal(fault)
                await farewell(stream, contract.write(reply))
                return
            stream.set_lane(onward.lane)
            stream.answer(contract.write(onward.reply))
            onward.fault = (await join(stream, onward.stream)).fault
