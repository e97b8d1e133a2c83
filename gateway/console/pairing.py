"""This file is the console's side of pairing: the pure conversation of `identity.pairing`, behind its limits.

What a token brings about, and what is written of it, is in `enrolling`. An appliance whose answer was lost asks again
with the same keys and gets the same answer, for a while.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog

from gateway.console import enrolling
from gateway.console.bells import Bells
from gateway.console.enrolling import House, PairingTokenUsedError, Proved
from gateway.console.limits import Buckets, TooOftenError, spoken
from gateway.console.records import Token
from gateway.console.store import doors, gateways, tokens
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.contract.pairing import PairingChallenge, PairingFinish, PairingResult, PairingStart
from gateway.identity import pairing, words
from gateway.identity.challenge import Challenger
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)


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


@dataclass(slots=True)
class Limits:
    """How often one address and one token may try."""

    by_address: Buckets = field(default_factory=lambda: Buckets(burst=30, per_minute=30))
    by_token: Buckets = field(default_factory=lambda: Buckets(burst=10, per_minute=10))


class Pairing:
    """Takes appliances in."""

    def __init__(self, store: Store, house: House, challenger: Challenger, bells: Bells, *, clock: Clock) -> None:
        self._store = store
        self._house = house
        self._challenger = challenger
        self._bells = bells
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
        tenant = await self._tenant(start.token_id)
        now = self._clock.now()
        async with self._store.reading(Scope(tenant)) as rows:
            token = await tokens.get(rows, start.token_id)
            # A used token may still be owed its answer; who may have it is decided at the finish.
            if token.used_at is None:
                await _refuse_unless_open(rows, token, now)
        nonce = secrets.token_hex(32)
        challenge = self._challenger.challenge(start.token_id, start.nonce, nonce=nonce, now=now)
        return PairingChallenge(challenge=challenge, nonce=nonce, server_time=now, repairs=token.repairs)

    async def finish(self, finish: PairingFinish, *, address: str) -> PairingResult:
        """Pair an appliance that proves itself.

        Raises TooOftenError, ChallengeStaleError, ProofWrongError, KeyUnreadableError, RequestRefusedError,
        GatewayNameTakenError, GatewayUnknownError and the errors of a token that cannot be used.
        """
        with _told(finish.token_id, address):
            result = await self._finished(finish)
        log.info(
            "gateway paired",
            gateway=result.gateway_name,
            id=str(result.gateway_id),
            token=finish.token_id,
            device=words.fingerprint(finish.device_key),
            address=address,
        )
        return result

    async def _finished(self, finish: PairingFinish) -> PairingResult:
        self._count(finish.token_id)
        tenant = await self._tenant(finish.token_id)
        async with self._store.writing(Scope(tenant)) as rows:
            repaired = await tokens.repaired_by(rows, finish.token_id)
            if repaired is not None:
                # Held before its tokens, as everywhere: two of them may be used at once.
                await gateways.held(rows, repaired)
            answer = await self._answered(rows, await tokens.get(rows, finish.token_id), finish)
        # Open sessions of the identity before, and who watches for alerts, look again.
        self._bells.ring(tenant)
        if isinstance(answer, PairingTokenUsedError):
            raise answer
        self._bells.ring(answer.gateway_id)
        return answer

    async def _answered(
        self, rows: Within, token: Token, finish: PairingFinish
    ) -> PairingResult | PairingTokenUsedError:
        now = self._clock.now()
        nonce = self._challenger.opened(finish.challenge, finish.token_id, finish.nonce, now=now)
        pairing.verify(finish, nonce=nonce, token_key=token.public_key, servers=self._house.servers())
        proved = Proved(finish, nonce)
        if token.used_at is not None:
            return await enrolling.answered_again(rows, self._house, token, proved, now=now)
        await _refuse_unless_open(rows, token, now)
        return await enrolling.enrol(rows, self._house, token, proved, now=now)

    async def _tenant(self, token_id: str) -> UUID:
        tenant = await doors.tenant_of_token(self._store, token_id)
        if tenant is None:
            raise PairingTokenUnknownError(
                "the console knows no such registration token: copy it again, or make a new one"
            )
        return tenant

    def _count(self, token_id: str) -> None:
        self._limits.by_token.take(token_id, now=self._clock.monotonic())


@contextmanager
def _told(token_id: str, address: str) -> Iterator[None]:
    try:
        yield
    except GatewayError as fault:
        log.warning("pairing refused", token=token_id, address=address, code=fault.code)
        raise


async def _refuse_unless_open(rows: Within, token: Token, now: datetime) -> None:
    if token.revoked_at is not None:
        raise PairingTokenRevokedError("the registration token was revoked: make a new one")
    if now >= token.expires_at:
        raise PairingTokenExpiredError("the registration token has expired: make a new one")
    if token.repairs is not None:
        await gateways.there(rows, token.repairs)
