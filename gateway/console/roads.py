"""This file is what the console needs of a data session."""

import asyncio
from typing import Protocol

from gateway.kit.errors import GatewayError
from gateway.tunnel.schedule import Lane
from gateway.tunnel.stream import Stream


class Road(Protocol):
    """One data session of an appliance."""

    @property
    def peer_certificate(self) -> bytes:
        """The appliance's verified certificate in DER."""

    @property
    def peer_address(self) -> str:
        """Where the appliance calls from."""

    @property
    def streams(self) -> int:
        """How many streams are open."""

    @property
    def going_away(self) -> asyncio.Event:
        """Set once no new stream may be opened."""

    async def open(self, preamble: bytes, *, lane: Lane, within: float = 10.0) -> tuple[Stream, bytes]:
        """Open a stream and return it with the other end's reply. Raises GatewayError."""

    async def drain(self, *, within: float) -> None:
        """Say that no more streams are taken, wait for those that are there, and close."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, with every stream; safe to call twice."""

    async def closed(self) -> GatewayError:
        """Wait until the session is over and return why."""
