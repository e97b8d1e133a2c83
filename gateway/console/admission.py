"""This file is who may come in at the tunnel's port: the gateway that a client certificate names, and nobody else.

Whatever a caller says of itself, in its address or in a message, counts for nothing here. Who came in is looked at
again every RECHECK seconds, wherever the change was made: a gateway that is revoked is out within five.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from cryptography import x509

from gateway.console import alarms, conditions, standing
from gateway.console.errors import GatewayUnknownError
from gateway.console.records import Gateway, Standing
from gateway.console.standing import Admission, Shown
from gateway.console.store import doors, gateways
from gateway.console.store import standing as store
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.console.store.standing import Rank
from gateway.identity.authority import LEAF_LIFE, RequestRefusedError, gateway_of
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

RECHECK = 2.0
"""Seconds after which an open connection is looked at again."""
FRESH = 1.0
"""Seconds for which an answer to that is good for other connections too."""


class SessionRefusedError(GatewayError):
    """The gateway may not connect."""

    code = "relay.refused"
    remedy = Remedy.OPERATOR


class GatewayRevokedError(SessionRefusedError):
    """The gateway's identity was revoked."""

    code = "gateway.revoked"


class GatewayQuarantinedError(SessionRefusedError):
    """There are two machines with the gateway's identity: neither may connect."""

    code = "gateway.quarantined"


class CertificateSpentError(SessionRefusedError):
    """The client certificate was replaced by a newer one long ago."""

    code = "relay.certificate_spent"


class CertificateUnknownError(SessionRefusedError):
    """The client certificate is none of the gateway's."""

    code = "relay.certificate_unknown"


class CertificateReplacedError(GatewayError):
    """The client certificate has just been replaced by a newer one, which is to be used."""

    code = "relay.certificate_replaced"
    remedy = Remedy.RETRY


class CertificateOverError(GatewayError):
    """The client certificate's time is over."""

    code = "relay.certificate_over"
    remedy = Remedy.RETRY


@dataclass(frozen=True, slots=True)
class Admitted:
    """A gateway that was let in, by which certificate (DER), and until when that is good."""

    gateway: Gateway
    until: datetime
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Entrance:
    """Lets gateways in. `vouches` tells whether a certificate (DER) is one of the authority's as it is now."""

    store: Store
    vouches: Callable[[bytes], bool]
    clock: Clock
    _looks: dict[UUID, "_Look"] = field(default_factory=dict, init=False)

    async def admit(self, certificate: bytes, *, address: str) -> Admitted:
        """Let in the gateway whose certificate (DER, its chain verified by TLS) this is.

        The first use of its next certificate ends the present one. Raises SessionRefusedError,
        CertificateReplacedError or CertificateOverError.
        """
        gateway_id, card = _read(certificate, address)
        self._refuse_unless_vouched_for(certificate)
        tenant = await doors.tenant_of_gateway(self.store, gateway_id)
        if tenant is None:
            raise _removed()
        async with self.store.reading(Scope(tenant)) as rows:
            gateway = await _found(rows, gateway_id)
            verdict = await _verdict(rows, gateway, card, now=self.clock.now())
        if _is_to_be_written(gateway, verdict):
            async with self.store.writing(Scope(tenant)) as rows:
                gateway = await gateways.held(rows, gateway_id)
                verdict = await _acted_on(rows, gateway, card, now=self.clock.now())
        _refuse_unless_taken(gateway, verdict)
        # No longer than ours are good, whatever it says: somebody with a stolen key may have signed it.
        return Admitted(gateway, min(card.until, self.clock.now() + LEAF_LIFE), certificate)

    async def still_welcome(self, admitted: Admitted, *, at_once: bool = False) -> Standing:
        """Return what the gateway may do now if a connection of its may go on; `at_once`, not as of a moment ago.

        That its certificate was replaced meanwhile does not end one. Raises SessionRefusedError or
        CertificateOverError, whether the store answers or not, or StoreUnavailableError.
        """
        if self.clock.now() >= admitted.until:
            raise _over()
        self._refuse_unless_vouched_for(admitted.certificate)
        rank = (await self._ranks(admitted.gateway.tenant, at_once=at_once)).get(admitted.gateway.id)
        if rank is None:
            raise _removed()
        refuse_unless_as_let_in(admitted.gateway, rank)
        return rank.standing

    def _refuse_unless_vouched_for(self, certificate: bytes) -> None:
        if not self.vouches(certificate):
            raise CertificateUnknownError("the client certificate is from an authority that was retired: recover")

    async def _ranks(self, tenant: UUID, *, at_once: bool) -> dict[UUID, Rank]:
        """Return the ranks of a tenant's gateways: a thousand connections ask one question among them."""
        look = self._looks.setdefault(tenant, _Look())
        asked = self.clock.monotonic()
        async with look.turn:
            if look.at < (asked if at_once else asked - FRESH):
                began = self.clock.monotonic()
                async with self.store.reading(Scope(tenant)) as rows:
                    look.ranks = await store.ranks(rows)
                look.at = began
            return look.ranks


@dataclass(slots=True)
class _Look:
    at: float = float("-inf")
    ranks: dict[UUID, Rank] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class _Card:
    serial: int
    until: datetime
    address: str


def _read(certificate: bytes, address: str) -> tuple[UUID, _Card]:
    try:
        gateway, serial = gateway_of(certificate)
        until = x509.load_der_x509_certificate(certificate).not_valid_after_utc
    except (RequestRefusedError, ValueError) as fault:
        raise SessionRefusedError("the client certificate names no gateway") from fault
    return gateway, _Card(serial, until, address)


async def _found(rows: Within, gateway: UUID) -> Gateway:
    try:
        return await gateways.by_id(rows, gateway)
    except GatewayUnknownError as fault:
        raise _removed() from fault


def _removed() -> SessionRefusedError:
    return SessionRefusedError("the gateway was removed from the console: pair it again with a new token")


def refusal_of(standing_: Standing) -> SessionRefusedError | None:
    """Return why a gateway may not come in at all, or None."""
    match standing_:
        case Standing.REVOKED:
            return GatewayRevokedError(
                "the gateway was revoked on the console: it has to be paired anew (pcg gateway repair-token)"
            )
        case Standing.QUARANTINED:
            return GatewayQuarantinedError(
                "there are two machines with this gateway's identity: an operator has to say on the console which is "
                "the right one (pcg gateway show)"
            )
        case _:
            return None


def refuse_unless_as_let_in(let_in: Gateway, now: Gateway | Rank) -> None:
    """Raise SessionRefusedError unless the gateway is still the one that was let in, and may still come in."""
    refusal = refusal_of(now.standing)
    if refusal is not None:
        raise refusal
    if now.device_key != let_in.device_key:
        raise SessionRefusedError("the gateway was paired anew, and this is its identity from before")


async def _verdict(rows: Within, gateway: Gateway, card: _Card, *, now: datetime) -> Admission:
    shown = Shown(
        serial=card.serial,
        until=card.until,
        current=gateway.certificate_serial,
        next=gateway.next_serial,
        spent_at=await store.spent_at(rows, gateway.id, card.serial),
    )
    return standing.admission(gateway.standing, shown, now=now)


def _is_to_be_written(gateway: Gateway, verdict: Admission) -> bool:
    if verdict is Admission.OLD:
        # Once it is told, who calls again and again makes no more work.
        return all(one.type != conditions.OLD_CERTIFICATE_USED for one in gateway.conditions)
    return verdict is Admission.PROMOTE


async def _acted_on(rows: Within, gateway: Gateway, card: _Card, *, now: datetime) -> Admission:
    verdict = await _verdict(rows, gateway, card, now=now)
    if verdict is Admission.PROMOTE:
        await store.promote(rows, gateway.id, now=now)
    if verdict is Admission.OLD:
        # Its living session is left alone: who has an old key shall not be able to cut the real one.
        condition = conditions.old_certificate_used(gateway.name, card.address, now=now)
        await alarms.tell(rows, gateway, condition, now=now)
    return verdict


def _refuse_unless_taken(gateway: Gateway, verdict: Admission) -> None:
    refusal = refusal_of(gateway.standing)
    if refusal is not None:
        raise refusal
    match verdict:
        case Admission.COME_AGAIN:
            raise CertificateReplacedError("the client certificate was just replaced: call with the new one")
        case Admission.OLD:
            raise CertificateSpentError("the client certificate was replaced by a newer one, and is worth nothing")
        case Admission.UNKNOWN:
            raise CertificateUnknownError("the client certificate is none that this gateway was given")
        case Admission.OVER:
            raise _over()
        case _:
            return


def _over() -> CertificateOverError:
    return CertificateOverError("the client certificate's time is over: call with the next one, or recover")
