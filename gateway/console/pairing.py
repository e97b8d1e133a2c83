"""This file is the console's side of pairing: the pure conversation of `identity.pairing`, made durable.

A token is used in one transaction: it is marked, the gateway is made and the answer is kept. An appliance whose
answer was lost asks again with the same device key and gets the same answer, for a while.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from gateway.console.errors import GatewayNameTakenError
from gateway.console.limits import Buckets, TooOftenError, spoken
from gateway.console.records import Token
from gateway.console.store import doors, gateways, tokens
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.contract.pairing import PairingChallenge, PairingFinish, PairingResult, PairingStart
from gateway.identity.authority import Authority
from gateway.identity.pairing import Challenger
from gateway.kit import ids
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)

SAME_ANSWER_FOR = timedelta(minutes=15)


class PairingTokenUnknownError(GatewayError):
    """The console knows no such registration token."""

    code = "pairing.token_unknown"
    remedy = Remedy.CALLER


class PairingTokenExpiredError(GatewayError):
    """The registration token has expired."""

    code = "pairing.token_expired"
    remedy = Remedy.CALLER


class PairingTokenRevokedError(GatewayError):
    """The registration token was revoked."""

    code = "pairing.token_revoked"
    remedy = Remedy.CALLER


class PairingTokenUsedError(GatewayError):
    """The registration token was used already."""

    code = "pairing.token_used"
    remedy = Remedy.CALLER


@dataclass(slots=True)
class Limits:
    """How often one address and one token may try."""

    by_address: Buckets = field(default_factory=lambda: Buckets(burst=30, per_minute=30))
    by_token: Buckets = field(default_factory=lambda: Buckets(burst=10, per_minute=10))


class Pairing:
    """Takes appliances in. `tunnel` is the URL at which the tunnel ends."""

    def __init__(
        self, store: Store, authority: Authority, challenger: Challenger, *, tunnel: str, clock: Clock
    ) -> None:
        self._store = store
        self._authority = authority
        self._challenger = challenger
        self._tunnel = tunnel
        self._clock = clock
        self._limits = Limits()
        self._spoken = spoken()

    def knock(self, address: str) -> None:
        """Count a question of an address, before anything of it is read. Raises TooOftenError."""
        now = self._clock.monotonic()
        try:
            self._limits.by_address.take(address, now=now)
        except TooOftenError:
            if self._spoken.has_room(address, now=now):
                log.warning("pairing asked for too often", address=address)
            raise

    async def start(self, start: PairingStart, *, address: str) -> PairingChallenge:
        """Answer the first question. Raises TooOftenError and the errors of a token that cannot be used."""
        with _told(start.token_id, address):
            return await self._started(start)

    async def _started(self, start: PairingStart) -> PairingChallenge:
        self._count(start.token_id)
        tenant = await doors.tenant_of_token(self._store, start.token_id)
        if tenant is None:
            raise _unknown()
        async with self._store.reading(Scope(tenant)) as rows:
            token = await tokens.get(rows, start.token_id)
        now = self._clock.now()
        # A used token may still be owed its answer; who may have it is decided at the finish.
        if token.used_at is None:
            _refuse_unless_open(token, now)
        return self._challenger.challenge(start, nonce=secrets.token_hex(32), now=now)

    async def finish(self, finish: PairingFinish, *, address: str) -> PairingResult:
        """Pair an appliance that proves itself.

        Raises TooOftenError, ChallengeStaleError, ProofWrongError, KeyUnreadableError, RequestRefusedError,
        GatewayNameTakenError and the errors of a token that cannot be used.
        """
        with _told(finish.token_id, address):
            result = await self._finished(finish)
        log.info(
            "gateway paired",
            gateway=result.gateway_name,
            id=str(result.gateway_id),
            token=finish.token_id,
            address=address,
        )
        return result

    async def _finished(self, finish: PairingFinish) -> PairingResult:
        self._count(finish.token_id)
        tenant = await doors.tenant_of_token(self._store, finish.token_id)
        if tenant is None:
            raise _unknown()
        async with self._store.writing(Scope(tenant)) as rows:
            token = await tokens.get(rows, finish.token_id)
            now = self._clock.now()
            self._challenger.verify(finish, token_key=token.public_key, now=now)
            if token.used_at is not None:
                return await _same_answer(rows, token, finish, now)
            _refuse_unless_open(token, now)
            return await self._pair(rows, token, finish, now)

    async def _pair(self, rows: Within, token: Token, finish: PairingFinish, now: datetime) -> PairingResult:
        if await gateways.find(rows, token.gateway_name) is not None:
            raise GatewayNameTakenError(
                f"a gateway {token.gateway_name!r} is already paired: make a token with another name",
                gateway=token.gateway_name,
            )
        gateway = ids.new_id(now)
        issued = self._authority.sign_gateway(finish.request, gateway, now=now)
        await gateways.add(
            rows,
            gateway,
            name=token.gateway_name,
            device_key=finish.device_key,
            serial=issued.serial,
            until=issued.not_after,
            now=now,
        )
        result = PairingResult(
            gateway_id=gateway,
            gateway_name=token.gateway_name,
            certificate=issued.pem,
            trust=self._authority.root,
            tunnel=self._tunnel,
        )
        await tokens.used(rows, token.id, by=finish.device_key, result=result, now=now)
        return result

    def _count(self, token_id: str) -> None:
        self._limits.by_token.take(token_id, now=self._clock.monotonic())


@contextmanager
def _told(token_id: str, address: str) -> Iterator[None]:
    try:
        yield
    except GatewayError as fault:
        log.warning("pairing refused", token=token_id, address=address, code=fault.code)
        raise


async def _same_answer(rows: Within, token: Token, finish: PairingFinish, now: datetime) -> PairingResult:
    in_time = token.used_at is not None and now - token.used_at <= SAME_ANSWER_FOR
    same_device = token.used_by == finish.device_key
    paired = await gateways.find(rows, token.gateway_name)
    result = token.result
    if in_time and same_device and result is not None and paired is not None and paired.id == result.gateway_id:
        return result
    raise PairingTokenUsedError("the registration token was used already: make a new one")


def _refuse_unless_open(token: Token, now: datetime) -> None:
    if token.revoked_at is not None:
        raise PairingTokenRevokedError("the registration token was revoked: make a new one")
    if now >= token.expires_at:
        raise PairingTokenExpiredError("the registration token has expired: make a new one")


def _unknown() -> PairingTokenUnknownError:
    return PairingTokenUnknownError("the console knows no such registration token: copy it again, or make a new one")
