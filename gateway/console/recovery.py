"""This file is the console's side of recovery: a gateway whose certificate is worth nothing any more comes back.

::

    gateway known? -> challenge ours and fresh? -> device key's signature? -> not too often?
      -> not revoked, not quarantined? -> not word for word again?
      -> join state: same request again -> the same answer
                     used already       -> quarantined
                     the last one       -> within the budget? -> the next certificate
                                                        no    -> a person has to approve

A gateway's own attempts are counted once its device key is proved: who knows no more than its id uses none of them up.
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
from gateway.console.records import AuditOutcome, Gateway
from gateway.console.standing import BUDGET_SPAN, Join, JoinProof
from gateway.console.store import audit, doors, gateways
from gateway.console.store import standing as store
from gateway.console.store.database import Store, StoreConflictError, StoreUnavailableError
from gateway.console.store.scope import Scope, Within
from gateway.console.store.standing import Papers
from gateway.contract.identity import Granted, RecoveryChallenge, RecoveryFinish, RecoveryResult, RecoveryStart
from gateway.identity import joinstate, recovery
from gateway.identity.challenge import Challenger, ChallengeStaleError
from gateway.identity.recovery import RecoveryProofWrongError, Seen
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
        """Answer the first question; of it nothing is kept. Raises GatewayUnknownError."""
        with _told(start.gateway_id, address):
            await self._tenant(start.gateway_id)
            now, nonce = self._clock.now(), secrets.token_hex(32)
            challenge = self._challenger.challenge(str(start.gateway_id), start.nonce, nonce=nonce, now=now)
            takes = [pin.hex() for pin in self._house.authority.client_pins]
            return RecoveryChallenge(challenge=challenge, nonce=nonce, server_time=now, takes=takes)

    async def finish(self, finish: RecoveryFinish, *, address: str) -> RecoveryResult:
        """Take a gateway back that proves itself.

        Raises TooOftenError, GatewayUnknownError, ChallengeStaleError, RecoveryProofWrongError, RequestRefusedError,
        GatewayRevokedError, GatewayQuarantinedError, JoinRefusedError, ClonedError or RecoveryNeedsApprovalError.
        """
        with _told(finish.gateway_id, address):
            tenant = await self._tenant(finish.gateway_id)
            async with self._store.reading(Scope(tenant)) as rows:
                gateway = await gateways.by_id(rows, finish.gateway_id)
            proved = self._proved(gateway, finish)
            self._limits.by_gateway.take(str(gateway.id), now=self._clock.monotonic())
            try:
                gateway, granted = await self._finished(gateway, proved, address)
            except (StoreUnavailableError, StoreConflictError):
                raise
            except GatewayError as fault:
                await self._write_refusal(gateway, fault, address)
                raise
        log.info("gateway recovered", gateway=gateway.name, id=str(gateway.id), address=address)
        return RecoveryResult(granted=granted, tunnel=self._house.tunnel, server_time=self._clock.now())

    def _proved(self, gateway: Gateway, finish: RecoveryFinish) -> "_Proved":
        nonce = self._challenger.opened(finish.challenge, str(finish.gateway_id), finish.nonce, now=self._clock.now())
        consoles = [Seen(one.pin, one.key) for one in self._house.servers()]
        message = recovery.verify(finish, nonce=nonce, device_key=gateway.device_key, consoles=consoles)
        request = joinstate.digest(finish.request)
        proof = JoinProof(finish.join_number, finish.join_proof, message, request, by_device=True)
        return _Proved(finish, nonce, gateway.device_key, proof)

    async def _finished(self, gateway: Gateway, proved: "_Proved", address: str) -> tuple[Gateway, Granted]:
        async with self._store.writing(Scope(gateway.tenant)) as rows:
            gateway = await gateways.held(rows, gateway.id)
            answer = await self._answered(rows, gateway, proved, address)
        # What was found out may end open sessions, and changes what people see.
        self._bells.ring(gateway.id)
        self._bells.ring(gateway.tenant)
        if isinstance(answer, GatewayError):
            raise answer
        return gateway, answer

    async def _write_refusal(self, gateway: Gateway, fault: GatewayError, address: str) -> None:
        """Write into the audit log that a gateway which has proved itself was not taken back."""
        facts = {"code": fault.code, "reason": fault.message, "address": address}
        now, outcome = self._clock.now(), AuditOutcome.REFUSED
        actor = f"gateway {gateway.name}"
        async with self._store.writing(Scope(gateway.tenant)) as rows:
            await audit.note(
                rows, "gateway.recover", actor=actor, now=now, gateway=gateway.name, outcome=outcome, **facts
            )

    async def _answered(
        self, rows: Within, gateway: Gateway, proved: "_Proved", address: str
    ) -> Granted | GatewayError:
        now, proof = self._clock.now(), proved.proof
        papers = await store.papers(rows, gateway.id)
        refusal = _refusal(gateway, papers, proved)
        if refusal is not None:
            return refusal
        verdict = standing.join(granting.joined(papers), proof)
        if verdict is Join.NEXT and (count := await self._over_budget(rows, gateway.id, now)):
            condition = conditions.recovery_needs_approval(gateway.name, count, now=now)
            await alarms.tell(rows, gateway, condition, now=now)
            return RecoveryNeedsApprovalError(
                f"the gateway has come back {count} times in {BUDGET_SPAN.days} days: an operator has to approve it "
                "on the console (pcg gateway approve-recovery)"
            )
        question = Question(proved.finish.request, proved.finish.join_number)
        answer = await renewal.judged(
            rows, self._issuer, gateway, question=question, proof=proof, address=address, now=now
        )
        if isinstance(answer, Granted):
            await store.heard(rows, gateway.id, proved.nonce)
            if verdict in {Join.NEXT, Join.WAIVED}:
                await store.add_recovery(rows, gateway.id, address=address, now=now)
        return answer

    async def _over_budget(self, rows: Within, gateway: UUID, now: datetime) -> int:
        """Return how often it has come back if that is too often, else 0."""
        forgiven = (await store.papers(rows, gateway)).forgiven_at
        since = now - BUDGET_SPAN
        if forgiven is not None and forgiven <= now:
            since = max(since, forgiven)
        count = await store.recoveries_between(rows, gateway, since, now)
        return 0 if standing.within_budget(count, self._budget) else max(count, 1)

    async def _tenant(self, gateway: UUID) -> UUID:
        tenant = await doors.tenant_of_gateway(self._store, gateway)
        if tenant is None:
            raise GatewayUnknownError("the gateway was removed from the console: pair it again with a new token")
        return tenant


@dataclass(frozen=True, slots=True)
class _Proved:
    """A last word that the device key has signed, with the nonce of the challenge that it answers."""

    finish: RecoveryFinish
    nonce: str
    device_key: str
    proof: JoinProof


def _refusal(gateway: Gateway, papers: Papers, proved: _Proved) -> GatewayError | None:
    """Return why a gateway is not taken back whatever its join state, or None."""
    refusal = refusal_of(gateway.standing)
    if refusal is not None:
        return refusal
    if gateway.device_key != proved.device_key:
        return RecoveryProofWrongError("the gateway was paired anew, and this is its device key from before")
    if papers.answer is not None and proved.nonce in papers.answer.nonces:
        return ChallengeStaleError("the challenge was answered already: start again")
    return None


@contextmanager
def _told(gateway: UUID, address: str) -> Iterator[None]:
    try:
        yield
    except GatewayError as fault:
        log.warning("recovery refused", id=str(gateway), address=address, code=fault.code)
        raise
