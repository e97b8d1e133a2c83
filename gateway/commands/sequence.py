"""This file is the order of signed commands, and how a console is noticed that knows less than before; it is pure.

::

    delivered ── known to the journal? ── fits the numbers seen lately? ── noted, on the disk ── accepted
    welcomed  ── fewer events acknowledged, or a lower number given out, than before; commands here that it does not
                 know ── the lane halts: nothing new is taken, reports go on, until a person has looked

Numbers are remembered for as long as an envelope could come again, and the highest for ever.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from gateway.contract.commands import CONTROL
from gateway.kit.errors import GatewayError, Remedy


class EnvelopeReplayedError(GatewayError):
    """A command comes again under another number, or its number was another command's."""

    code = "envelope.replayed"
    remedy = Remedy.OPERATOR


class OutOfOrderError(GatewayError):
    """A newer command for the same resource was taken already."""

    code = "envelope.out_of_order"
    remedy = Remedy.CALLER


class CommandFromBeforeError(GatewayError):
    """A command may have been carried out before the console was put back to an older state."""

    code = "lane.from_before"
    remedy = Remedy.CALLER


REFUSALS = (EnvelopeReplayedError, OutOfOrderError, CommandFromBeforeError)


@dataclass(frozen=True, slots=True)
class Numbered:
    """A signed command that is let through: its number, and until when its envelope is good."""

    seq: int
    command: UUID
    resource: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers seen: lately each with its command, and the highest of all."""

    highest: int = 0
    before: int = 0
    """Up to here commands were sent by a console that has since forgotten some of them."""
    lately: tuple[Numbered, ...] = ()


def check(numbers: Numbers, one: Numbered, *, is_known: bool) -> None:
    """Refuse a command whose number does not fit; `is_known` tells whether the journal has it already.

    Raises EnvelopeReplayedError, OutOfOrderError or CommandFromBeforeError.
    """
    for other in numbers.lately:
        if (other.seq == one.seq) != (other.command == one.command):
            raise EnvelopeReplayedError(
                f"the command has number {one.seq}; number {other.seq} was command {other.command}: its envelope was "
                "used again, or the console counts anew"
            )
    if is_known:
        return
    if one.seq <= numbers.before:
        raise CommandFromBeforeError(
            "the console was put back to an older state after it had sent commands with higher numbers, and this may "
            "be one that was carried out: send the wish again if it is still wanted"
        )
    newer = [other for other in numbers.lately if other.resource == one.resource and other.seq > one.seq]
    if newer and one.resource != CONTROL:
        raise OutOfOrderError(
            f"command {newer[0].command}, a newer one for {one.resource}, was taken before this one: send the wish "
            "again if it is still wanted"
        )


def note(numbers: Numbers, one: Numbered, *, now: datetime) -> Numbers:
    """Return the numbers with that of a command that is let through; what cannot come again is forgotten."""
    kept = [other for other in numbers.lately if other.until > now and other.command != one.command]
    return replace(numbers, highest=max(numbers.highest, one.seq), lately=(*kept, one))


@dataclass(frozen=True, slots=True)
class Heard:
    """What a welcome tells of what the console knows; `last_seq` is None where it does not tell."""

    acknowledged: int
    last_seq: int | None = None
    unknown: Collection[UUID] = ()


def forgotten(numbers: Numbers, *, acknowledged: int, heard: Heard) -> list[str]:
    """Return by what a console shows that it knows less than before, in words; nothing if it does not.

    `acknowledged` is the number of the last event that it was known to have.
    """
    found = []
    if heard.acknowledged < acknowledged:
        found.append(f"it has events up to {heard.acknowledged}, and had acknowledged {acknowledged}")
    if heard.last_seq is not None and heard.last_seq < numbers.highest:
        found.append(f"its newest command is number {heard.last_seq}, and it had sent number {numbers.highest}")
    if heard.unknown:
        found.append(f"it does not know {len(heard.unknown)} of the commands that are carried out here")
    return found
