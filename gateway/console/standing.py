"""This file is the verdicts on a gateway: facts in, what is to be done out; pure.

::

    a connection      standing revoked, quarantined                     refused
                      certificate is over                               refused: it has to recover
                      serial is the current one                         taken
                      serial is the next one                            taken; it becomes the current, which is spent
                      serial was spent within a minute                  refused: come again with the new one
                      serial was spent longer ago                       refused, and told: an old copy is about
                      serial was never given out                        refused

    a join proof      request answered last, proof as then              the same answer
                      number and proof are the current ones             the next certificate
                      anything else, and a person has waived it once    the next one to who shows the device key
                      number was used already, by another request       fork: there are two of it
                      number is the current one, the proof is not       refused, and told
                      number was never given out                        refused: the console is older than the gateway

    a hello           another boot id, while the other one answers      there are two of it
                      event numbers or epoch went back                  rolled back: a new epoch begins
                      another SMBIOS UUID                               the machine has changed: paused
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from gateway.console.records import Standing
from gateway.contract.messages import LATEST_EPOCH
from gateway.identity import joinstate

CHANGING = timedelta(seconds=60)
"""How long after its certificate was replaced an appliance may still be about to show the old one."""
SHUT_OUT = frozenset({Standing.QUARANTINED, Standing.REVOKED})


class Admission(StrEnum):
    """What becomes of a connection."""

    TAKE = "take"
    PROMOTE = "promote"
    COME_AGAIN = "come-again"
    OLD = "old"
    UNKNOWN = "unknown"
    OVER = "over"
    REVOKED = "revoked"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that was shown, and what is known of it."""

    serial: int
    until: datetime
    current: int
    next: int | None
    spent_at: datetime | None


def admission(standing: Standing, shown: Shown, *, now: datetime) -> Admission:
    """Judge a connection by what it shows."""
    if standing in SHUT_OUT:
        return Admission.REVOKED if standing is Standing.REVOKED else Admission.QUARANTINED
    if now >= shown.until:
        return Admission.OVER
    if shown.serial == shown.current:
        return Admission.TAKE
    if shown.serial == shown.next:
        return Admission.PROMOTE
    if shown.spent_at is None:
        return Admission.UNKNOWN
    return Admission.COME_AGAIN if now - shown.spent_at <= CHANGING else Admission.OLD


class Join(StrEnum):
    """What becomes of who proves a join state."""

    SAME_ANSWER = "same-answer"
    NEXT = "next"
    WAIVED = "waived"
    RECOVER = "recover"
    FORKED = "forked"
    WRONG = "wrong"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class Joined:
    """What the console knows of a gateway's join state."""

    number: int
    key: bytes | None
    key_before: bytes | None
    request: bytes | None
    """SHA-256 of the request that the present number was given for."""
    waived: bool = False


@dataclass(frozen=True, slots=True)
class JoinProof:
    """What an appliance shows; whoever sends it has shown already that it holds a key of the gateway.

    `by_device`: that was the device key, not only the TLS key of its certificate.
    """

    number: int
    proof: str
    message: bytes
    request: bytes
    by_device: bool = False


def join(known: Joined, shown: JoinProof) -> Join:
    """Judge a join proof."""
    if _is_the_last_again(known, shown):
        return Join.SAME_ANSWER
    verdict = _judged(known, shown)
    if known.waived and verdict is not Join.NEXT:
        # The person's word was for the gateway. A TLS key alone may be the thief's whom it was said about.
        return Join.WAIVED if shown.by_device else Join.RECOVER
    return verdict


def _judged(known: Joined, shown: JoinProof) -> Join:
    if shown.number > known.number:
        return Join.AHEAD
    if shown.number == known.number:
        return Join.NEXT if _proves(known.key, shown) else Join.WRONG
    if shown.number == known.number - 1 and known.key_before is not None:
        return Join.FORKED if _proves(known.key_before, shown) else Join.WRONG
    # Too old for its key to be kept. It was the gateway's once, and only a copy has it still.
    return Join.FORKED


def _is_the_last_again(known: Joined, shown: JoinProof) -> bool:
    if shown.request != known.request:
        return False
    # Without a key before, the last was given without a proof: a person had waived it.
    return known.key_before is None or (shown.number < known.number and _proves(known.key_before, shown))


def _proves(key: bytes | None, shown: JoinProof) -> bool:
    return key is not None and joinstate.proved(key, shown.message, shown.proof)


class Finding(StrEnum):
    """What is noticed about a gateway that says hello."""

    CLONED = "cloned"
    ROLLED_BACK = "rolled-back"
    HARDWARE_CHANGED = "hardware-changed"


@dataclass(frozen=True, slots=True)
class Known:
    """What the console knew before a hello."""

    acknowledged: int
    epoch: int
    system_uuid: UUID | None


@dataclass(frozen=True, slots=True)
class Said:
    """What a hello says."""

    next_event: int
    epoch: int
    system_uuid: UUID | None


def findings(known: Known, said: Said) -> frozenset[Finding]:
    """Return what is the matter with a gateway by what it says of itself."""
    found = set()
    if said.next_event <= known.acknowledged or said.epoch < known.epoch:
        found.add(Finding.ROLLED_BACK)
    if None not in (known.system_uuid, said.system_uuid) and known.system_uuid != said.system_uuid:
        found.add(Finding.HARDWARE_CHANGED)
    return frozenset(found)


def next_epoch(known: Known, said: Said) -> int:
    """Return the epoch a gateway goes on in that was rolled back; one that it was not told yet is not counted twice."""
    return known.epoch if said.epoch < known.epoch else min(said.epoch + 1, LATEST_EPOCH)


BUDGET_SPAN = timedelta(days=30)


def within_budget(recoveries: int, budget: int) -> bool:
    """Tell whether a gateway that came back that often within BUDGET_SPAN may come back by itself once more."""
    return recoveries < budget
