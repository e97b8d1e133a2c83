"""This file is the far end of every gateway's command channel: who has come in, and who takes whose place.

::

    certificate -> admitted? ─ hello ─┬─ the same boot as the living connection, or it is dead ─ takes its place
                     refused ─────────┴─ another boot, and the living connection answers ─ two of it: both are cut

A machine that was copied with its memory has the same boot: then the two take each other's place in turn. That happens
to one that turns over to its next certificate too, but not again and again.

A connection replaces the older one of its gateway once it was greeted, and not before: a caller that says nothing, or
is refused, takes nobody's place but that of another who was not greeted yet. Everything a connection does is
idempotent, so that two that overlap for a moment, or one after a crash, change nothing twice.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import UUID

import structlog

from gateway.console import intake
from gateway.console.admission import (
    Admitted,
    CertificateOverError,
    GatewayQuarantinedError,
    SessionRefusedError,
)
from gateway.console.errors import GatewayUnknownError
from gateway.console.hearing import PeerBrokeProtocolError
from gateway.console.talk import Channel, Desk, Talk
from gateway.contract.messages import Hello
from gateway.kit.errors import GatewayError
from gateway.tunnel.channel import ChannelClosedError

REFUSED = 4000
REPLACED = 4001
BROKEN = 4002
OVER = 4003
TRY_LATER = 1013
ALIVE_WITHIN = 5.0
"""Seconds in which a living connection answers, when another one says it is the same gateway."""

TURNS = 2
"""How often in FIGHT seconds a boot may take the place of its own living connection."""
FIGHT = 60.0

log = structlog.get_logger(__name__)


class Place(NamedTuple):
    """Who holds a gateway's only place, and the boot it has named."""

    channel: Channel
    boot_id: UUID | None = None


class Relay:
    """The far end of every tunnel."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._greeting: dict[UUID, Place] = {}
        self._greeted: dict[UUID, Place] = {}
        self._turns: dict[UUID, deque[float]] = {}

    async def serve(self, channel: Channel) -> None:
        """Serve one channel until it ends; never raises for what a peer does."""
        try:
            admitted = await self._desk.entrance.admit(channel.peer_certificate, address=channel.peer_address)
            with structlog.contextvars.bound_contextvars(gateway=admitted.gateway.name):
                await self._served(admitted, channel)
        except ChannelClosedError as fault:
            log.info("tunnel closed", reason=fault.message)
        except (SessionRefusedError, GatewayUnknownError) as fault:
            log.warning("tunnel refused", address=channel.peer_address, code=fault.code, reason=fault.message)
            await channel.close(code=REFUSED, reason=_short(fault))
        except PeerBrokeProtocolError as fault:
            log.warning("tunnel broken off", code=fault.code, reason=fault.message)
            await channel.close(code=BROKEN, reason=_short(fault))
        except CertificateOverError as fault:
            log.info("tunnel ended with its certificate", reason=fault.message)
            await channel.close(code=OVER, reason=_short(fault))
        except GatewayError as fault:
            log.warning("tunnel given up", code=fault.code, reason=fault.message)
            await channel.close(code=TRY_LATER, reason=_short(fault))

    async def _served(self, admitted: Admitted, channel: Channel) -> None:
        talk = Talk(self._desk, admitted, channel)
        async with _in_place(self._greeting, admitted.gateway.id, Place(channel)):
            hello = await talk.hello()
            await self._refuse_twins(admitted, hello)
            greeting = await talk.greeted(hello)
        async with _in_place(self._greeted, admitted.gateway.id, Place(channel, hello.boot_id)):
            await talk.run(greeting)

    async def _refuse_twins(self, admitted: Admitted, hello: Hello) -> None:
        """Shut the gateway out if another machine is connected as it. Raises GatewayQuarantinedError."""
        gateway = admitted.gateway
        living = self._greeted.get(gateway.id)
        if living is None or (living.boot_id == hello.boot_id and not self._is_fought_over(gateway.id)):
            return
        # An appliance that was started again has left a connection behind that nobody answers on.
        if not await living.channel.answers(within=ALIVE_WITHIN):
            return
        how = f"one is connected from {living.channel.peer_address}, another has called meanwhile, both alive"
        await intake.cloned(self._desk.store, gateway, how, clock=self._desk.clock)
        self._desk.bells.ring(gateway.id)
        self._desk.bells.ring(gateway.tenant)
        raise GatewayQuarantinedError("another machine with this gateway's identity is connected: neither may be")

    def _is_fought_over(self, gateway: UUID) -> bool:
        """Count that a boot takes its own place; tell whether that is too often for one machine."""
        now, turns = self._desk.clock.monotonic(), self._turns.setdefault(gateway, deque(maxlen=TURNS + 1))
        turns.append(now)
        return len(turns) > TURNS and now - turns[0] <= FIGHT


@asynccontextmanager
async def _in_place(places: dict[UUID, Place], gateway: UUID, place: Place) -> AsyncIterator[None]:
    """Hold a gateway's only place while the body runs; whoever held it is closed."""
    older = places.get(gateway)
    places[gateway] = place
    try:
        if older is not None:
            await older.channel.close(code=REPLACED, reason="the same gateway has connected again")
        yield
    finally:
        if places.get(gateway) is place:
            del places[gateway]


def _short(fault: GatewayError) -> str:
    # A close frame holds 123 bytes of reason (RFC 6455, 5.5).
    return f"{fault.code}: {fault.message}".encode()[:120].decode(errors="ignore")
