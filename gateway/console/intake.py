"""This file is what a gateway tells us, taken in: each message one transaction, on disk before it is acknowledged."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NoReturn
from uuid import UUID

import structlog

from gateway.console import alarms, conditions, halting, pictures, projection, rollback, standing
from gateway.console.admission import SessionRefusedError, refuse_unless_as_let_in
from gateway.console.projection import Picture
from gateway.console.records import CommandState, Gateway, Heading, Standing
from gateway.console.standing import Finding
from gateway.console.store import audit, commands, events, gateways
from gateway.console.store import standing as papers_of
from gateway.console.store.database import Store
from gateway.console.store.events import Occurrence
from gateway.console.store.reading import RecordUnreadableError, unreadable
from gateway.console.store.scope import Scope, Within
from gateway.contract.events import CommandEnded, CommandOutcome, Event
from gateway.contract.messages import Accepted, Hello, Leaving, Offers, Rejected
from gateway.contract.problems import Problem, problem_of
from gateway.contract.version import IDENTITY_SINCE
from gateway.identity import farewell
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

SEAL_REFUSED = ("envelope.", "lane.")
"""How the codes begin with which a gateway refuses a command for its envelope, or its number."""

log = structlog.get_logger(__name__)


class NumbersWentBackError(GatewayError):
    """The gateway's event numbers begin before those the console has."""

    code = "relay.numbers_went_back"
    remedy = Remedy.OPERATOR


class EventsMissingError(GatewayError):
    """There is a gap in the gateway's event numbers; it has to send again."""

    code = "relay.events_missing"
    remedy = Remedy.RETRY


class LeftError(SessionRefusedError):
    """The site has ended the pairing."""

    code = "relay.left"


class LeavingUnprovenError(SessionRefusedError):
    """The gateway's certificate says that the site ends the pairing, and its device key does not."""

    code = "relay.leaving_unproven"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a gateway that said hello is answered."""

    acknowledged: int
    epoch: int = 1
    ended_commands: tuple[UUID, ...] = ()
    """Of its open commands, those that are over: it was put back to an older state and is to drop them."""
    last_seq: int = 0
    """Number of the newest command for it."""
    unknown_commands: tuple[UUID, ...] = ()
    """Of its open commands, those that were never given to it as far as is known here."""


async def held(rows: Within, gateway: Gateway) -> Gateway:
    """Return a gateway that was let in, held against other writers until the transaction ends.

    Between what people decide and the cut of what is open, an identity that is over could act for the one after it, or
    undo the decision. Raises SessionRefusedError then, and GatewayUnknownError.
    """
    known = await gateways.held(rows, gateway.id)
    refuse_unless_as_let_in(gateway, known)
    return known


async def greeted(store: Store, gateway: Gateway, hello: Hello, *, protocol: int, clock: Clock) -> Heard:
    """Note a gateway's hello and what is found out by it. Raises NumbersWentBackError for an old gateway."""
    async with store.writing(Scope(gateway.tenant)) as rows:
        known = await held(rows, gateway)
        if protocol >= IDENTITY_SINCE:
            heard = await _compared(rows, hello, await _judged(rows, known, hello, clock), known.id)
            await halting.heard(rows, known, hello.halted, now=clock.now())
        else:
            _refuse_older_numbers(known, hello)
            heard = Heard(known.acknowledged)
        await gateways.said_hello(rows, gateway.id, hello, protocol=protocol, now=clock.now())
        return heard


async def _compared(rows: Within, hello: Hello, heard: Heard, gateway: UUID) -> Heard:
    """Add by what a gateway sees whether this console was put back to an older state."""
    known = await commands.known_among(rows, gateway, hello.open_commands)
    unknown = tuple(one for one in hello.open_commands if one not in known)
    return replace(heard, last_seq=await gateways.last_seq(rows, gateway), unknown_commands=unknown)


async def cloned(store: Store, gateway: Gateway, how: str, *, clock: Clock) -> None:
    """Shut out a gateway of which there are two; `how` tells what was noticed."""
    async with store.writing(Scope(gateway.tenant)) as rows:
        await alarms.quarantine(rows, await held(rows, gateway), how, now=clock.now())


async def _judged(rows: Within, known: Gateway, hello: Hello, clock: Clock) -> Heard:
    now, uuid = clock.now(), hello.hardware.system_uuid
    before = standing.Known(known.acknowledged, known.epoch, known.system_uuid)
    said = standing.Said(hello.next_event, hello.epoch, uuid)
    found = standing.findings(before, said)
    if Finding.HARDWARE_CHANGED in found:
        condition = conditions.hardware_changed(known.name, known.system_uuid, uuid, now=now)
        await alarms.pause(rows, known, condition, now=now)
    elif known.system_uuid is None and uuid is not None:
        await papers_of.runs_on(rows, known.id, uuid)
    await papers_of.trust_kept(rows, known.id, hello.trust_version)
    if Finding.ROLLED_BACK not in found:
        return Heard(known.acknowledged, max(known.epoch, hello.epoch))
    epoch = standing.next_epoch(before, said)
    ended = await rollback.gone_back(rows, known, hello, epoch=epoch, clock=clock)
    return Heard(known.acknowledged, epoch, ended)


def _refuse_older_numbers(known: Gateway, hello: Hello) -> None:
    if hello.next_event <= known.acknowledged:
        raise NumbersWentBackError(
            f"the appliance counts its next event {hello.next_event}, the console has {known.acknowledged}: "
            "it was put back to an older state; remove the gateway from the console (pcg gateway remove, with "
            "--forget-clusters if it has clusters) and pair the appliance again with a new token"
        )


async def offered(store: Store, gateway: Gateway, offers: Offers, *, clock: Clock) -> None:
    """Note what a gateway offers from now on."""
    async with store.writing(Scope(gateway.tenant)) as rows:
        await halting.heard(rows, await held(rows, gateway), offers.halted, now=clock.now())
        await gateways.offers(rows, gateway.id, accounts=offers.accounts, targets=offers.targets)


async def left(store: Store, gateway: Gateway, word: Leaving, address: str, *, clock: Clock) -> NoReturn:
    """Note that a gateway's site has ended the pairing: its identity is worth nothing from now on.

    Raises LeftError, or LeavingUnprovenError when the device key has not said so.
    """
    now = clock.now()
    async with store.writing(Scope(gateway.tenant)) as rows:
        known = await held(rows, gateway)
        is_proven = farewell.holds(word, known.id, device_key=known.device_key)
        await (_ended(rows, known, now) if is_proven else _unproven(rows, known, address, now))
    if not is_proven:
        raise LeavingUnprovenError("only the device key may say that the site ends the pairing, and it has not")
    log.warning("the site has ended the pairing", gateway=gateway.name, id=str(gateway.id))
    raise LeftError("the site has ended the pairing, and this console has taken note")


async def _unproven(rows: Within, known: Gateway, address: str, now: datetime) -> None:
    await alarms.tell(rows, known, conditions.leaving_unproven(known.name, address, now=now), now=now)


async def _ended(rows: Within, known: Gateway, now: datetime) -> None:
    await papers_of.set_standing(rows, known.id, Standing.REVOKED)
    await papers_of.add_condition(rows, known.id, conditions.left(known.name, now=now))
    await audit.note(rows, "gateway.left", actor=f"gateway {known.name}", now=now, gateway=known.name)


async def trusts(store: Store, gateway: Gateway, version: int) -> None:
    """Note which trust bundle a gateway keeps."""
    async with store.writing(Scope(gateway.tenant)) as rows:
        await held(rows, gateway)
        await papers_of.trust_kept(rows, gateway.id, version)


async def refused(store: Store, gateway: Gateway, problem: Problem | None) -> None:
    """Note why a gateway was turned away or takes nothing, for whoever looks at it; None when that is over."""
    async with store.writing(Scope(gateway.tenant)) as rows:
        await held(rows, gateway)
        await gateways.has_problem(rows, gateway.id, problem)


async def answered(store: Store, gateway: Gateway, answer: Accepted | Rejected, *, clock: Clock) -> None:
    """Note a gateway's answer to a delivery; an answer to a command it was not given is nothing to us."""
    async with store.writing(Scope(gateway.tenant)) as rows:
        await held(rows, gateway)
        try:
            before = await pictures.read(rows, answer.command_id, gateway=gateway.id)
        except RecordUnreadableError as fault:
            log.exception("answer to an unreadable command", reason=fault.message)
            return
        if before is None:
            log.warning("answer to an unknown command", command=str(answer.command_id))
            return
        if isinstance(answer, Accepted):
            await pictures.write(rows, before, projection.accepted(before, now=clock.now()), clock=clock)
        else:
            await _rejected(rows, gateway, before, problem=answer.problem, clock=clock)


async def reported(store: Store, gateway: Gateway, reports: list[Event], *, had: int = 0, clock: Clock) -> int:
    """Take in events and what they change; return the number up to which all are on disk.

    Doubles are dropped by number. Those up to `had` were here before this console was put back to an older state: some
    of them the gateway may not keep any more. Raises EventsMissingError at a gap; nothing of this report is then kept.
    """
    async with store.writing(Scope(gateway.tenant)) as rows:
        known = await held(rows, gateway)
        fresh = _fresh(known.acknowledged, reports, had=had)
        if not fresh:
            return known.acknowledged
        taken = [await _taken(rows, known, event, clock) for event in fresh]
        await events.append(rows, known, taken)
        await gateways.acknowledged(rows, known.id, fresh[-1].number)
        return fresh[-1].number


def _fresh(acknowledged: int, reports: list[Event], *, had: int) -> list[Event]:
    fresh = [event for event in reports if event.number > acknowledged]
    expected = acknowledged + 1
    for event in fresh:
        if event.number < expected or event.number > max(expected, had + 1):
            raise EventsMissingError(f"event {expected} is missing before event {event.number}: send again from there")
        expected = event.number + 1
    return fresh


async def give_up(rows: Within, gateway: Gateway, headings: list[Heading], *, now: datetime) -> None:
    """End commands that cannot be read any more: they can never be delivered, and nobody shall wait for them."""
    for heading in headings:
        problem = problem_of(unreadable(f"the command {heading.id}"))
        log.error("command cannot be delivered", command=str(heading.id), reason=problem.message)
        await commands.end(rows, heading.id, CommandState.REJECTED, problem=problem, now=now)
        ended = CommandEnded(outcome=CommandOutcome.REFUSED, problem=problem)
        await events.append(rows, gateway, [Occurrence(None, heading.id, heading, ended, now)])


async def _taken(rows: Within, gateway: Gateway, event: Event, clock: Clock) -> Occurrence:
    try:
        before = await pictures.read(rows, event.command_id, gateway=gateway.id)
    except RecordUnreadableError as fault:
        log.exception("event of an unreadable command", number=event.number, reason=fault.message)
        return await _noted(rows, gateway, event, now=clock.now())
    if before is None:
        # Kept, and acknowledged: refusing it would hold up every later event of this gateway for ever.
        log.warning("event of an unknown command", command=str(event.command_id), number=event.number)
        return Occurrence(event.number, event.command_id, None, event.body, event.at)
    after = projection.reported(before, event.body, now=clock.now())
    await pictures.write(rows, before, after, clock=clock)
    return Occurrence(event.number, event.command_id, before.command, event.body, event.at)


async def _noted(rows: Within, gateway: Gateway, event: Event, *, now: datetime) -> Occurrence:
    """Take in an event of a command that cannot be read, or whose cluster cannot: all but what depends on that."""
    heading = await commands.heading(rows, event.command_id, gateway=gateway.id)
    if heading is not None and isinstance(event.body, CommandEnded):
        state = projection.STATE_OF[event.body.outcome]
        await commands.end(rows, heading.id, state, problem=event.body.problem, now=now)
    return Occurrence(event.number, event.command_id, heading, event.body, event.at)


async def _rejected(rows: Within, gateway: Gateway, before: Picture, *, problem: Problem, clock: Clock) -> None:
    now = clock.now()
    after = projection.rejected(before, problem, now=now)
    if problem.code.startswith(SEAL_REFUSED):
        condition = conditions.command_refused(gateway.name, before.command.id, problem.message, now=now)
        await alarms.tell(rows, gateway, condition, now=now)
    await pictures.write(rows, before, after, clock=clock)
    if after.command.state is not before.command.state:
        # Whoever watches the command has to learn that it is over, though the appliance will never say so.
        ended = CommandEnded(outcome=CommandOutcome.REFUSED, problem=problem)
        await events.append(rows, gateway, [Occurrence(None, before.command.id, before.command, ended, now)])
