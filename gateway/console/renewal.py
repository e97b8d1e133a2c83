"""This file is how a gateway gets its next certificate over the channel that the present one has opened."""

from datetime import datetime

from gateway.console import alarms, conditions, granting, standing
from gateway.console.admission import refuse_unless_as_let_in
from gateway.console.granting import Issuer, Question
from gateway.console.limits import Buckets
from gateway.console.records import Gateway
from gateway.console.standing import Join, JoinProof
from gateway.console.store import gateways
from gateway.console.store import standing as store
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.contract.identity import Granted, Renew
from gateway.identity import joinstate
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

A_DAY = 20
"""Certificates that a gateway may ask for in a day: its own would last a week."""


class JoinRefusedError(GatewayError):
    """What came with the request does not show that the gateway has its last join state."""

    code = "gateway.join_refused"
    remedy = Remedy.OPERATOR


class ClonedError(GatewayError):
    """There are two machines with one gateway's identity."""

    code = "gateway.cloned"
    remedy = Remedy.OPERATOR


class Renewal:
    """Answers to Renew."""

    def __init__(self, store: Store, issuer: Issuer, *, clock: Clock) -> None:
        self._store = store
        self._issuer = issuer
        self._clock = clock
        self._asked = Buckets(burst=A_DAY, per_minute=A_DAY / (24 * 60))

    async def renewed(self, gateway: Gateway, renew: Renew, *, address: str) -> Granted:
        """Give a gateway that is connected its next certificate, or the last once more.

        Raises TooOftenError, RequestRefusedError, SessionRefusedError, JoinRefusedError, or, after it was shut out,
        ClonedError.
        """
        self._asked.take(str(gateway.id), now=self._clock.monotonic())
        proof = JoinProof(
            number=renew.join_number,
            proof=renew.join_proof,
            message=renew.request.encode(),
            request=joinstate.digest(renew.request),
        )
        now = self._clock.now()
        async with self._store.writing(Scope(gateway.tenant)) as rows:
            known = await gateways.held(rows, gateway.id)
            # Judged as a fork, whoever still has an identity from before could shut the present one out.
            refuse_unless_as_let_in(gateway, known)
            question = Question(renew.request, renew.join_number)
            answer = await judged(rows, self._issuer, known, question=question, proof=proof, address=address, now=now)
        if isinstance(answer, GatewayError):
            raise answer
        return answer


async def judged(
    rows: Within, issuer: Issuer, gateway: Gateway, *, question: Question, proof: JoinProof, address: str, now: datetime
) -> Granted | JoinRefusedError | ClonedError:
    """Give a certificate to who proves the join state; a refusal is returned, for what it leaves has to be kept.

    Raises RequestRefusedError.
    """
    papers = await store.papers(rows, gateway.id)
    verdict = standing.join(granting.joined(papers), proof)
    match verdict:
        case Join.SAME_ANSWER:
            return await granting.same_answer(
                rows, issuer, gateway.id, papers=papers, request=question.request, now=now
            )
        case Join.NEXT | Join.WAIVED:
            proved = verdict is Join.NEXT
            return await granting.next_certificate(
                rows, issuer, gateway.id, papers=papers, request=question.request, proved=proved, now=now
            )
        case Join.RECOVER:
            return JoinRefusedError(
                "this is not the last join state, and what a person has said about it is for who shows the device key: "
                "the appliance recovers with that once its certificate is over"
            )
        case Join.FORKED:
            how = f"join state {question.join_number} was used a second time, from {address}"
            await alarms.quarantine(rows, gateway, how, now=now)
            return ClonedError(
                f"join state {question.join_number} was used already: there are two machines with this gateway's "
                "identity; an operator has to say on the console which is the right one (pcg gateway show)"
            )
        case Join.AHEAD:
            await alarms.tell(rows, gateway, conditions.join_state_ahead(gateway.name, now=now), now=now)
        case Join.WRONG:
            await alarms.tell(rows, gateway, conditions.join_proof_wrong(gateway.name, address, now=now), now=now)
    return JoinRefusedError(
        "the console cannot tell from the join state that this is the gateway it knows: an operator has to look "
        "(pcg gateway show)"
    )
