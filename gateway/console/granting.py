"""This file is how a gateway's next certificate is given: signed, remembered as the next one, with a new join state.

A certificate is the next one until it is shown; until then the present one is good as well. Who has lost the answer
asks with the same request and gets the same: of the answer no secret is kept, the ticket is made again.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.console.standing import Joined
from gateway.console.store import standing as store
from gateway.console.store.scope import Within
from gateway.console.store.standing import KeptAnswer, NextCertificate, Papers
from gateway.contract.identity import Granted
from gateway.identity import joinstate
from gateway.identity.authority import Authority


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs, and what tickets are made from: 32 bytes, the same in every replica."""

    authority: Authority
    join_secret: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """A request for a certificate, PEM, and the number of the join state that came with it."""

    request: str
    join_number: int


def joined(papers: Papers) -> Joined:
    """Return what a join proof is judged by."""
    return Joined(
        number=papers.join_number,
        key=papers.join_key,
        key_before=papers.join_key_before,
        request=papers.request,
        waived=papers.join_waived,
    )


async def next_certificate(
    rows: Within, issuer: Issuer, gateway: UUID, *, papers: Papers, request: str, proved: bool, now: datetime
) -> Granted:
    """Give the gateway its next certificate. Raises RequestRefusedError.

    A proof that was waived, and not `proved`, cannot be asked for again when the answer is lost.
    """
    number, before = papers.join_number + 1, papers.join_key if proved else None
    return await _given(rows, issuer, gateway, request=request, number=number, before=before, now=now)


async def same_answer(
    rows: Within, issuer: Issuer, gateway: UUID, *, papers: Papers, request: str, now: datetime
) -> Granted:
    """Give the last answer again; its certificate is made anew when it has little of its life left, or none yet."""
    answer = papers.answer
    if answer is None or not answer.given_at <= now <= answer.given_at + (answer.not_after - answer.given_at) / 2:
        number, before = papers.join_number, papers.join_key_before
        return await _given(rows, issuer, gateway, request=request, number=number, before=before, now=now)
    return _granted(issuer, gateway, request, answer)


async def _given(
    rows: Within, issuer: Issuer, gateway: UUID, *, request: str, number: int, before: bytes | None, now: datetime
) -> Granted:
    issued = issuer.authority.sign_gateway(request, gateway, now=now)
    answer = KeptAnswer(
        certificate=issued.pem,
        serial=f"{issued.serial:x}",
        given_at=now,
        not_after=issued.not_after,
        join_number=number,
    )
    granted = _granted(issuer, gateway, request, answer)
    kept = NextCertificate(joinstate.digest(request), answer, joinstate.key_of(granted.join), before)
    await store.give(rows, gateway, kept, now=now)
    await store.forget_spent(rows, gateway, before=now)
    return granted


def _granted(issuer: Issuer, gateway: UUID, request: str, answer: KeptAnswer) -> Granted:
    join = joinstate.issued(issuer.join_secret, gateway, answer.join_number, request)
    return Granted(certificate=answer.certificate, trust=issuer.authority.trust, join=join)
