"""This file is the console's side of recovery: a gateway whose certificate is worth nothing any more comes back.

::

    gateway known? -> challenge ours and fresh? -> device key's signature? -> not revoked, not quarantined?
      -> join state: same request again -> the same answer
                     used already       -> quarantined
                     the last one       -> within the budget? -> the next certificate
                                                        no    -> a person has to approve
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog

from gateway.console import alarms, conditions, granting, renewal, standing
from gateway.console.admission import refusal_of
from gateway.console.bells import Bells
from gateway.console.enrolling import House
from gateway.console.errors import GatewayUnknownError
from gateway.console.granting import Issuer, Question
from gateway.console.limits import Buckets
from gateway.console.records import Gateway
from gateway.console.standing import BUDGET_SPAN, Join, JoinProof
from gateway.console.store import doors, gateways
from gateway.console.store import standing as store
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.contract.identity import Granted, RecoveryChallenge, RecoveryFinish, RecoveryResult, RecoveryStart
from gateway.identity import joinstate, recovery
from gateway.identity.challenge import Challenger
from gateway.identity.recovery import Seen
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)


class RecoveryNeedsApprovalError(GatewayError):
    """The gateway has come back too often by itself: a person has to approve the next time."""

    code = "recovery.needs_approval"
    remedy = Remedy.OPERATOR


@dataclass(slots=True)
class Limits:
    """How often one gateway may be asked for."""

    by_gateway: Buckets = field(default_factory=lambda: Buckets(burst=10, per_minute=10))


class Recovery:
    """Takes gateways back. `budget` is how often within 30 days one may come back by itself."""

    def __init__(
        self, store: Store, house: House, challenger: Challenger, bells: Bells, *, budget: int, clock: Clock
    ) -> None:
        self._store = store
        self._house = house
        self._issuer = Issuer(house.authority, house.join_secret)
        self._challenger = challenger
        self._bells = bells
        self._budget = budget
        self._clock = clock
        self._limits = Limits()

    async def start(self, start: RecoveryStart, *, address: str) -> RecoveryChallenge:
        """Answer the first question. Raises TooOftenError or GatewayUnknownError."""
        with _told(start.gateway_id, address):
            self._count(start.gateway_id)
            await self._tenant(start.gateway_id)
            now, nonce = self._clock.now(), secrets.token_hex(32)
            challenge = self._challenger.challenge(str(start.gateway_id), start.nonce, nonce=nonce, now=now)
            return RecoveryChallenge(challenge=challenge, nonce=nonce, server_time=now)

    async def finish(self, finish: RecoveryFinish, *, address: str) -> RecoveryResult:
        """Take a gateway back that proves itself.

        Raises TooOftenError, GatewayUnknownError, ChallengeStaleError, RecoveryProofWrongError, RequestRefusedError,
        GatewayRevokedError, GatewayQuarantinedError, JoinRefusedError, ClonedError or RecoveryNeedsApprovalError.
        """
        with _told(finish.gateway_id, address):
            self._count(finish.gateway_id)
            tenant = await self._tenant(finish.gateway_id)
            async with self._store.writing(Scope(tenant)) as rows:
                gateway = await gateways.held(rows, finish.gateway_id)
                answer = await self._answered(rows, gateway, finish, address)
            # What was found out may end open sessions, and changes what people see.
            self._bells.ring(gateway.id)
            self._bells.ring(tenant)
            if isinstance(answer, GatewayError):
                raise answer
        log.info("gateway recovered", gateway=gateway.name, id=str(gateway.id), address=address)
        return RecoveryResult(granted=answer, tunnel=self._house.tunnel, server_time=self._clock.now())

    async def _answered(
        self, rows: Within, gateway: Gateway, finish: RecoveryFinish, address: str
    ) -> Granted | GatewayError:
        now = self._clock.now()
        nonce = self._challenger.opened(finish.challenge, str(finish.gateway_id), finish.nonce, now=now)
        consoles = [Seen(one.pin, one.key) for one in self._house.servers()]
        message = recovery.verify(finish, nonce=nonce, device_key=gateway.device_key, consoles=consoles)
        refusal = refusal_of(gateway.standing)
        if refusal is not None:
            return refusal
        request = joinstate.digest(finish.request)
        proof = JoinProof(finish.join_number, finish.join_proof, message, request, by_device=True)
        verdict = standing.join(granting.joined(await store.papers(rows, gateway.id)), proof)
        if verdict is Join.NEXT and (count := await self._over_budget(rows, gateway.id, now)):
            condition = conditions.recovery_needs_approval(gateway.name, count, now=now)
            await alarms.tell(rows, gateway, condition, now=now)
            return RecoveryNeedsApprovalError(
                f"the gateway has come back {count} times in {BUDGET_SPAN.days} days: an operator has to approve it "
                "on the console (pcg gateway approve-recovery)"
            )
        question = Question(finish.request, finish.join_number)
        answer = await renewal.judged(
            rows, self._issuer, gateway, question=question, proof=proof, address=address, now=now
        )
        if verdict in {Join.NEXT, Join.WAIVED} and isinstance(answer, Granted):
            await store.add_recovery(rows, gateway.id, address=address, now=now)
        return answer

    async def _over_budget(self, rows: Within, gateway: UUID, now: datetime) -> int:
        """Return how often it has come back if that is too often, else 0."""
        forgiven = (await store.papers(rows, gateway)).forgiven_at
        since = max(now - BUDGET_SPAN, forgiven) if forgiven else now - BUDGET_SPAN
        count = await store.recoveries_since(rows, gateway, since)
        return 0 if standing.within_budget(count, self._budget) else max(count, 1)

    async def _tenant(self, gateway: UUID) -> UUID:
        tenant = await doors.tenant_of_gateway(self._store, gateway)
        if tenant is None:
            raise GatewayUnknownError("the gateway was removed from the console: pair it again with a new token")
        return tenant

    def _count(self, gateway: UUID) -> None:
        self._limits.by_gateway.take(str(gateway), now=self._clock.monotonic())


@contextmanager
def _told(gateway: UUID, address: str) -> Iterator[None]:
    try:
        yield
    except GatewayError as fault:
        log.warning("recovery refused", id=str(gateway), address=address, code=fault.code)
        raise
