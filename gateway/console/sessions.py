"""This file is the data sessions that gateways keep open to the console, and which of them takes the next stream.

A session belongs to the gateway that its client certificate names. The id it brings in its address only tells a
gateway's own sessions apart: it is looked for among those of that gateway and nowhere else.
"""

import asyncio
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import structlog

from gateway.console.admission import RECHECK, Admitted, CertificateOverError, Entrance, SessionRefusedError
from gateway.console.errors import GatewayAwayError, GatewayNotActiveError
from gateway.console.latches import Latches
from gateway.console.records import Gateway, Standing
from gateway.console.roads import Road
from gateway.contract.streams import LATCH_PARAMETER, SESSION_PARAMETER
from gateway.kit.errors import GatewayError, Remedy

MOST = 4
"""Sessions of one gateway that take streams; a fifth takes the place of the oldest."""
REFUSED, REPLACED, OVER, TRY_LATER = 4000, 4001, 4003, 1013
"""The close codes that the command channel has for the same."""

log = structlog.get_logger(__name__)


class SessionUnnamedError(SessionRefusedError):
    """A data session does not say which one of its gateway it is."""

    code = "relay.session_unnamed"


class SessionStrangerError(GatewayError):
    """A data session does not show what the appliance that is connected was told."""

    code = "relay.session_stranger"
    remedy = Remedy.RETRY


@dataclass(frozen=True, slots=True)
class DataSession:
    """One data session, whose it is, and what it shows for that."""

    id: UUID
    latch: str
    admitted: Admitted
    road: Road

    @property
    def gateway(self) -> Gateway:
        """The gateway as it was when the session was opened."""
        return self.admitted.gateway


@dataclass(slots=True)
class Sessions:
    """Every data session that is open, by gateway, the oldest first."""

    entrance: Entrance
    latches: Latches
    _open: dict[UUID, list[DataSession]] = field(default_factory=dict)

    async def serve(self, road: Road, path: str) -> None:
        """Keep a session, opened at `path`, until it is over; never raises for what a peer does."""
        try:
            admitted = await self.entrance.admit(road.peer_certificate, address=road.peer_address)
            session = DataSession(named(path), _said(path, LATCH_PARAMETER), admitted, road)
            self._refuse_stranger(session)
        except GatewayError as fault:
            log.warning("data session refused", address=road.peer_address, code=fault.code, reason=fault.message)
            await road.close(_code(fault), fault.code)
            return
        with structlog.contextvars.bound_contextvars(gateway=admitted.gateway.name, session=str(session.id)):
            await self._kept(session)

    def choose(self, gateway: Gateway) -> DataSession:
        """Return the session of a gateway that carries the fewest streams. Raises GatewayAwayError."""
        usable = self._usable(gateway.id)
        if not usable:
            raise GatewayAwayError(
                f"gateway {gateway.name!r} keeps no road for streams to the console now: see whether it is connected, "
                "and try again",
                gateway=gateway.name,
            )
        return min(usable, key=lambda one: one.road.streams)

    def any(self, gateway: Gateway) -> bool:
        """Tell whether a stream could be opened to a gateway now."""
        return bool(self._usable(gateway.id))

    async def drain(self, *, within: float) -> None:
        """Have every session end: no new streams, and `within` seconds for those that are open."""
        async with asyncio.TaskGroup() as group:
            for session in [one for several in self._open.values() for one in several]:
                group.create_task(session.road.drain(within=within))

    def _usable(self, gateway: UUID) -> list[DataSession]:
        known = [one for one in self._open.get(gateway, []) if self.latches.opens(gateway, one.latch)]
        return [one for one in known if not one.road.going_away.is_set()]

    def _refuse_stranger(self, session: DataSession) -> None:
        if not self.latches.opens(session.gateway.id, session.latch):
            raise SessionStrangerError("the data session is not of the appliance that was greeted")

    async def _kept(self, session: DataSession) -> None:
        displaced = self._displaced_by(session)
        self._open.setdefault(session.gateway.id, []).append(session)
        try:
            for older in displaced:
                await older.road.close(REPLACED, "another data session has taken its place")
            log.info("data session open", address=session.road.peer_address)
            await self._until_over(session)
        finally:
            self._drop(session)

    def _displaced_by(self, newer: DataSession) -> list[DataSession]:
        same = [one for one in self._open.get(newer.gateway.id, []) if one.id == newer.id]
        others = [one for one in self._usable(newer.gateway.id) if one.id != newer.id]
        displaced = [*same, *others[: max(0, len(others) + 1 - MOST)]]
        for one in displaced:
            self._drop(one)
        return displaced

    def _drop(self, session: DataSession) -> None:
        kept = [one for one in self._open.get(session.gateway.id, []) if one is not session]
        if kept:
            self._open[session.gateway.id] = kept
        else:
            self._open.pop(session.gateway.id, None)

    async def _until_over(self, session: DataSession) -> None:
        while True:
            try:
                async with asyncio.timeout(RECHECK):
                    reason = await session.road.closed()
            except TimeoutError:
                fault = await self._unwelcome(session)
                if fault is not None:
                    log.warning("data session cut off", code=fault.code, reason=fault.message)
                    await session.road.close(_code(fault), fault.code)
                    return
            else:
                log.info("data session closed", code=reason.code, reason=reason.message)
                return

    async def _unwelcome(self, session: DataSession) -> GatewayError | None:
        """Return why a session may not go on, or None."""
        try:
            self._refuse_stranger(session)
            standing = await self.entrance.still_welcome(session.admitted)
        except (SessionRefusedError, CertificateOverError, SessionStrangerError) as fault:
            return fault
        except GatewayError as fault:
            log.warning("data session could not be looked at", code=fault.code, reason=fault.message)
            return None
        if standing is not Standing.ACTIVE and session.road.streams:
            return GatewayNotActiveError(f"the gateway is {standing}: its streams end")
        return None


def _code(fault: GatewayError) -> int:
    match fault:
        case SessionRefusedError():
            return REFUSED
        case CertificateOverError():
            return OVER
        case _:
            return TRY_LATER


def named(path: str) -> UUID:
    """Return the id in a session's address. Raises SessionUnnamedError for none, two, or one that is no UUID."""
    try:
        text = _said(path, SESSION_PARAMETER)
        number = UUID(text)
        if str(number) != text:
            raise ValueError("not in its canonical spelling")
    except ValueError as fault:
        raise SessionUnnamedError(f"a data session is opened at /?{SESSION_PARAMETER}=UUID: it was not") from fault
    return number


def _said(path: str, parameter: str) -> str:
    """Return what a session's address says by a parameter; nothing when it says that not at all, or twice."""
    try:
        (text,) = parse_qs(urlsplit(path).query, max_num_fields=8)[parameter]
    except (KeyError, ValueError):
        return ""
    return text
