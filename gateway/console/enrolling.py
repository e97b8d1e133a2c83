"""This file is what a registration token brings about: a gateway is made, or made anew in its own place.

::

    token open ── pairs ────> ACTIVE                     token used ── same device, same request, in time ─> same answer
               └─ --confirm ─> UNCONFIRMED ── words ──> ACTIVE      └─ another device ─> refused, alert, audit entry

Everything that goes with one answer is one transaction: the token is marked, the gateway written, the answer kept. Of
the answer no secret is kept: the join state's ticket is made again from the console's own secret.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from gateway.console.errors import GatewayNameTakenError
from gateway.console.records import AuditOutcome, Gateway, PairingAnswer, Standing, Token
from gateway.console.store import audit, enrolment, gateways, tokens
from gateway.console.store import standing as papers_of
from gateway.console.store.enrolment import Enrolled
from gateway.console.store.scope import Within
from gateway.console.tokens import end_others, end_repairs
from gateway.contract.conditions import Condition
from gateway.contract.pairing import PairingFinish, PairingResult
from gateway.identity import joinstate, words
from gateway.identity.authority import Authority, Issued
from gateway.identity.challenge import ChallengeStaleError
from gateway.identity.pairing import Server
from gateway.kit import ids
from gateway.kit.errors import GatewayError, Remedy

SAME_ANSWER_FOR = timedelta(minutes=15)
REMEMBERED = 100
"""Nonces that are remembered of one token; more than it can be asked for while a challenge is good."""
AWAITING = "awaiting-confirmation"
USED_ELSEWHERE = "token-used-elsewhere"


class PairingTokenUsedError(GatewayError):
    """The registration token was used already."""

    code = "pairing.token_used"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class House:
    """What every answer to pairing needs: who signs, who the console is, where the tunnel ends.

    `join_secret` (32 bytes, the same in every replica) is what tickets are made from; `command_key` tells by which key
    an appliance knows the console's commands.
    """

    authority: Authority
    servers: Callable[[], Collection[Server]]
    tunnel: str
    join_secret: bytes
    command_key: Callable[[], str | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Proved:
    """An appliance's last word, whose signatures hold, and the nonce of the challenge that it answers."""

    finish: PairingFinish
    nonce: str


async def enrol(rows: Within, house: House, token: Token, proved: Proved, *, now: datetime) -> PairingResult:
    """Use a token up for an appliance that has proved itself.

    Raises GatewayNameTakenError, GatewayUnknownError or RequestRefusedError.
    """
    finish, old = proved.finish, await _repaired(rows, token)
    gateway = ids.new_id(now) if old is None else old.id
    number = 1 if old is None else (await papers_of.papers(rows, gateway)).join_number + 1
    issued = house.authority.sign_gateway(finish.request, gateway, now=now)
    enrolled = _enrolled(house, token, finish, issued, gateway=gateway, number=number)
    if old is None:
        await enrolment.add(rows, gateway, enrolled, name=token.gateway_name, now=now)
    else:
        await enrolment.replace(rows, gateway, enrolled, now=now)
    if token.confirm:
        await papers_of.add_condition(rows, gateway, _awaiting(token.gateway_name, now))
    answer = PairingAnswer(
        gateway=gateway,
        certificate=issued.pem,
        request=joinstate.digest(finish.request).hex(),
        join_number=number,
        nonces=[proved.nonce],
    )
    await tokens.used(rows, token.id, by=finish.device_key, answer=answer, now=now)
    if old is not None:
        await end_repairs(rows, old, author=token.author, now=now)
    else:
        await end_others(rows, token, now=now)
    await audit.note(
        rows,
        "gateway.pair" if old is None else "gateway.repair",
        actor=token.author,
        now=now,
        gateway=token.gateway_name,
        token=token.id,
        device=words.fingerprint(finish.device_key),
    )
    return _result(house, token, answer, finish, now=now)


async def answered_again(
    rows: Within, house: House, token: Token, proved: Proved, *, now: datetime
) -> PairingResult | PairingTokenUsedError:
    """Return what a used token's holder gets: the same answer, or the refusal, of which an alert is written.

    It is returned, not raised: the transaction that writes the alert has to be kept. Raises ChallengeStaleError for a
    message that was answered before: whoever has listened to it gets nothing by it.
    """
    finish = proved.finish
    if token.used_by != finish.device_key:
        await _alert(rows, token, finish, now)
        return PairingTokenUsedError("the registration token was used already, by another device: make a new one")
    gateway = await gateways.find(rows, token.gateway_name)
    answer = token.answer
    in_time = token.used_at is not None and now - token.used_at <= SAME_ANSWER_FOR
    if in_time and answer is not None and await _is_owed(rows, gateway, answer, finish):
        if proved.nonce in answer.nonces:
            raise ChallengeStaleError("the challenge was answered already: start again")
        kept = [*answer.nonces, proved.nonce][-REMEMBERED:]
        await tokens.answered(rows, token.id, answer.model_copy(update={"nonces": kept}))
        return _result(house, token, answer, finish, now=now)
    return PairingTokenUsedError("the registration token was used already: make a new one")


async def _is_owed(rows: Within, gateway: Gateway | None, answer: PairingAnswer, finish: PairingFinish) -> bool:
    """Tell whether the kept answer is the last that the gateway got, and the one that was asked for."""
    if gateway is None or gateway.id != answer.gateway or gateway.device_key != finish.device_key:
        return False
    papers = await papers_of.papers(rows, gateway.id)
    return (answer.join_number, answer.request) == (papers.join_number, joinstate.digest(finish.request).hex())


async def _repaired(rows: Within, token: Token) -> Gateway | None:
    if token.repairs is not None:
        return await gateways.held(rows, token.repairs)
    if await gateways.find(rows, token.gateway_name) is not None:
        raise GatewayNameTakenError(
            f"a gateway {token.gateway_name!r} is already paired: make a token with another name, or pair it anew in "
            f"its place with `pcg gateway repair-token {token.gateway_name}`",
            gateway=token.gateway_name,
        )
    return None


def _enrolled(
    house: House, token: Token, finish: PairingFinish, issued: Issued, *, gateway: UUID, number: int
) -> Enrolled:
    join = joinstate.issued(house.join_secret, gateway, number, finish.request)
    return Enrolled(
        device_key=finish.device_key,
        serial=issued.serial,
        until=issued.not_after,
        join_number=number,
        join_key=joinstate.key_of(join),
        system_uuid=finish.hardware.system_uuid,
        trust_version=house.authority.trust.version,
        standing=Standing.UNCONFIRMED if token.confirm else Standing.ACTIVE,
    )


def _result(
    house: House, token: Token, answer: PairingAnswer, finish: PairingFinish, *, now: datetime
) -> PairingResult:
    return PairingResult(
        gateway_id=answer.gateway,
        gateway_name=token.gateway_name,
        certificate=answer.certificate,
        bundle=house.authority.trust,
        steps=house.authority.grounds.steps,
        join=joinstate.issued(house.join_secret, answer.gateway, answer.join_number, finish.request),
        tunnel=house.tunnel,
        server_time=now,
        confirm=token.confirm,
        command_key=house.command_key(),
    )


def _awaiting(name: str, now: datetime) -> Condition:
    return Condition(
        type=AWAITING,
        message="it was paired and gets no commands and no streams until a person has compared its fingerprint",
        remedy=f"read the six words on the appliance (`pcg appliance status`), then `pcg gateway confirm {name}`",
        since=now,
    )


async def _alert(rows: Within, token: Token, finish: PairingFinish, now: datetime) -> None:
    """Say on the gateway and in the audit log that a second device holds the token.

    Once, until somebody has seen to it: who holds the token can show as many fresh devices as he likes.
    """
    other, own = words.fingerprint(finish.device_key), words.fingerprint(token.used_by or "")
    message = f"the registration token was used by another device, {other}, after it had paired this gateway, {own}"
    found = await gateways.find(rows, token.gateway_name)
    if found is None or any(one.type == USED_ELSEWHERE for one in found.conditions):
        return
    remedy = (
        "compare with the six words that the right appliance shows (`pcg appliance status`): if they are others, "
        f"`pcg gateway revoke {found.name}` and pair the right one with `pcg gateway repair-token {found.name}`; if "
        "they are the same, find out who else has seen the token"
    )
    condition = Condition(type=USED_ELSEWHERE, message=message, remedy=remedy, since=now)
    await papers_of.add_condition(rows, found.id, condition)
    await audit.note(
        rows,
        "pairing.token-used",
        actor="an appliance",
        now=now,
        gateway=found.name,
        outcome=AuditOutcome.REFUSED,
        token=token.id,
        device=other,
        paired=own,
    )
