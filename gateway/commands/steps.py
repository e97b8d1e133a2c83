"""This file is how a step is declared: its name, its words, and what may be done with it after a power cut.

::

    intent on disk, no outcome      read, desired state   done again
                                    keyed                 done again with the key of the intent
                                    once                  its probe: done -> goes on | not done -> done again
                                                                     unknown -> the command ends as unknown
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from gateway.commands.entries import StepKind
from gateway.kit.errors import GatewayError, Remedy


class Seen(StrEnum):
    """What a probe has found out."""

    DONE = "done"
    NOT_DONE = "not done"
    """It was not done, and will not come to be: nothing of it is under way."""
    UNKNOWN = "unknown"


class StepUnsafeError(GatewayError):
    """A step is declared without what it takes to go on with it after a power cut."""

    code = "step.unsafe"


class OutcomeUnknownError(GatewayError):
    """Nobody can tell whether a step that must not be done twice was done."""

    code = "command.outcome_unknown"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe's answer, with what it has seen, in a sentence for whoever has to decide."""

    seen: Seen
    evidence: str = ""


Probe = Callable[[str | None], Awaitable[Probed]]
"""Looks whether a step was done; it is given what the step has noted. It changes nothing."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A step as its author declares it. Raises StepUnsafeError when it could not be gone on with."""

    name: str
    title: str
    kind: StepKind
    key: str | None = None
    probe: Probe | None = None

    def __post_init__(self) -> None:
        if self.kind is StepKind.ONCE and self.probe is None:
            raise StepUnsafeError(f"step {self.name} must not be done twice: it needs a probe", step=self.name)
        if self.kind is StepKind.KEYED and not self.key:
            raise StepUnsafeError(f"step {self.name} is told from others by its key: it needs one", step=self.name)

    @property
    def is_once(self) -> bool:
        """Whether it must not be done twice."""
        return self.kind is StepKind.ONCE


def reading(name: str, title: str) -> Declared:
    """Declare a step that changes nothing."""
    return Declared(name, title, StepKind.READ)


def bringing(name: str, title: str) -> Declared:
    """Declare a step that brings something to a state, and does nothing where it is there already."""
    return Declared(name, title, StepKind.DESIRED_STATE)


def keyed(name: str, title: str, *, key: str) -> Declared:
    """Declare a step whose effect is known by a key, so that asking twice is asking once."""
    return Declared(name, title, StepKind.KEYED, key=key)


def once(name: str, title: str, *, probe: Probe) -> Declared:
    """Declare a step that must not be done twice, and how to find out whether it was done."""
    return Declared(name, title, StepKind.ONCE, probe=probe)
