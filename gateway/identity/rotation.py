"""This file is the phases of a console's roots, as a pure function from one state to the next.

::

    STEADY ── hand on ──> HANDED_ON ── promote ──> SETTLING ── retire ──> STEADY
    {A}                   {A, B}                   {B, A}                 {B}          what appliances trust
    A                     A                        B                      B            who signs

Each arrow waits until every appliance has heard of what it needs. What signs was handed out one arrow earlier, and what
was signed before is still taken one arrow later: whoever has heard of each arrow never notices any. Whoever has missed
them comes back through the successions.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.contract.trust import MOST_SUCCESSIONS, Succession
from gateway.identity.certificates import LEAF_LIFE
from gateway.kit.errors import GatewayError, Remedy

NOTICED = timedelta(seconds=10)
"""Within this time a running console has heard of what another process has changed."""


class RotationOutOfTurnError(GatewayError):
    """This step of a rotation has no place now."""

    code = "authority.out_of_turn"
    remedy = Remedy.CALLER


class Phase(StrEnum):
    """Where the rotation of the root stands."""

    STEADY = "steady"
    """One root."""
    HANDED_ON = "handed-on"
    """The next root is being brought to the appliances; the current one still signs."""
    SETTLING = "settling"
    """The next root has become the current one; the former is still taken."""


class State(BaseModel):
    """What the authority's directory holds, by the names of its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: int = Field(default=1, ge=1, description="of the trust bundle")
    phase: Phase = Phase.STEADY
    current: str
    other: str | None = Field(default=None, description="the next root when handed on, the former one when settling")
    known_since: int = Field(default=1, description="first version of the bundle that has the newest root in it")
    promoted_at: AwareDatetime | None = Field(default=None, description="when the current root became that")
    intermediates: tuple[str, ...] = Field(
        min_length=1, description="the last one signs; of the others leaves may live"
    )
    steps: tuple[Succession, ...] = ()

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots in the bundle, the current one first."""
        return (self.current,) if self.other is None else (self.current, self.other)

    @property
    def intermediate(self) -> str:
        """The intermediate that signs."""
        return self.intermediates[-1]


def handed_on(state: State, following: str, step: Succession) -> State:
    """Return the state with the next root in the bundle. Raises RotationOutOfTurnError."""
    expect(state, Phase.STEADY)
    version = state.version + 1
    steps = (*state.steps, step)[-MOST_SUCCESSIONS:]
    changed = {"phase": Phase.HANDED_ON, "other": following, "version": version, "known_since": version, "steps": steps}
    return state.model_copy(update=changed)


def promoted(state: State, intermediate: str, *, now: datetime) -> State:
    """Return the state in which the next root is the current one. Raises RotationOutOfTurnError."""
    expect(state, Phase.HANDED_ON)
    return state.model_copy(
        update={
            "phase": Phase.SETTLING,
            "current": state.other,
            "other": state.current,
            "version": state.version + 1,
            "promoted_at": now,
            "intermediates": (*state.intermediates, intermediate),
        }
    )


def retired(state: State) -> State:
    """Return the state without the former root and all that is below it. Raises RotationOutOfTurnError."""
    expect(state, Phase.SETTLING)
    changed = {"phase": Phase.STEADY, "other": None, "version": state.version + 1}
    return state.model_copy(update=changed)


def waits_for(state: State, *, trust_version: int, certificate_until: datetime, now: datetime) -> bool:
    """Tell whether a gateway would be left behind if the next step were taken now; when steady, whether one was.

    `trust_version` is the bundle that it keeps, `certificate_until` when its certificate ends.
    """
    # Where no root was ever brought in, all have the only one, also who was never asked which bundle it keeps.
    behind = trust_version < state.known_since and state.known_since > 1
    if state.promoted_at is None:
        return behind
    # What the former root has signed ends by then, also what a console has that had not noticed yet; what has ended
    # already needs recovery, whatever is done now. The moment stays known after the former root is retired: who comes
    # with such a certificate is not taken any more.
    below_former = now < certificate_until <= state.promoted_at + NOTICED + LEAF_LIFE
    return behind or below_former


def expect(state: State, phase: Phase) -> None:
    """Raise RotationOutOfTurnError unless the rotation stands there."""
    if state.phase is phase:
        return
    ways_out = {
        Phase.STEADY: "no next root was handed on yet: that is the first step, rotate --root",
        Phase.HANDED_ON: "the next root is handed on already; make it the current one, with rotate --switch",
        Phase.SETTLING: "the former root is still taken: end that rotation first, with rotate --retire",
    }
    raise RotationOutOfTurnError(f"not now: {ways_out[state.phase]}", phase=state.phase.value)
