"""This file is the route of tunnels inside WebSockets; whoever calls is asked who they are further in."""

from typing import Any, Literal

import structlog
from aiohttp import web
from pydantic import Field

from gateway.console.api.models import Nothing
from gateway.console.api.problems import UpgradeMissingError
from gateway.console.api.routes import Call
from gateway.console.nested import MESSAGE_LIMIT, SUBPROTOCOL, AlreadyInsideError
from gateway.contract.shapes import Wish

PATH = "/api/v1/nested"

log = structlog.get_logger(__name__)


class NestedWish(Wish):
    """What is wanted inside."""

    inner: Literal["tunnel", "api"] = Field(
        default="tunnel", description="port of the console that the bytes go to: that of tunnels, or this API's own"
    )


def refuse_inside(call: Call[Any, Any, Any]) -> None:
    """Raise AlreadyInsideError for a caller that comes from inside a WebSocket: each layer would cost us more."""
    if call.is_inside:
        raise AlreadyInsideError("this connection is inside a WebSocket of this console already: ask from outside")


async def open_nested(call: Call[Nothing, NestedWish, Nothing]) -> web.WebSocketResponse:
    """Open a WebSocket (pcg.nested.v1) whose binary messages are the bytes of a TLS connection inside."""
    refuse_inside(call)
    address = call.address
    with call.rooms.nested.seat(address, call.query.inner) as seat:
        outer = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), max_msg_size=MESSAGE_LIMIT, compress=False, decode_text=False, timeout=5.0
        )
        if outer.can_prepare(call.request).protocol != SUBPROTOCOL:
            raise UpgradeMissingError(f"this path is a WebSocket that speaks {SUBPROTOCOL}: ask for that")
        await outer.prepare(call.request)
        try:
            await call.rooms.nested.carry(outer, call.query.inner, seat)
        except OSError as fault:
            log.info("nested tunnel cut", address=address, reason=str(fault) or type(fault).__name__)
            if not outer.closed and call.request.transport is not None:
                call.request.transport.abort()
    return outer
