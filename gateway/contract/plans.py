"""This file is a plan as it is told: the named steps a command takes, what each changes, and what all come to.

::

    plan      which wish it is of, where, steps in order, what is added and removed, the SHA-256 of all that
    step      its class, + add | ~ change | - remove | or nothing; before -> after; what is made anew, what is destroyed

The hash is over the canonical JSON of the whole plan but the hash itself: two plans of one hash are one plan. A plan
that is too long to be reported is told with its first steps, and with how many were left out; its hash stays.
"""

import hashlib
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints

from gateway.contract.shapes import Report, Sentence
from gateway.kit.strictjson import write_canonical_json

TOLD_LIMIT: Final = 120 * 1024
"""Bytes of the longest plan that is told whole."""

PlanHash = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$"),
    Field(description="SHA-256 of a plan, hexadecimal, as `pcg cluster plan` shows it"),
]


class StepClass(StrEnum):
    """What may be done with a step after a power cut."""

    READ = "read"
    DESIRED_STATE = "desired-state"
    KEYED = "keyed"
    ONCE = "once"


class Effect(StrEnum):
    """What a step does to what is there."""

    NONE = "none"
    """It looks, or brings something to the state it is in already."""
    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


class Difference(Report):
    """One thing that a step changes."""

    what: str = Field(max_length=100)
    before: Sentence | int | None = Field(default=None, description="none when it is not there yet")
    after: Sentence | int | None = Field(default=None, description="none when it will not be there any more")


class PlannedStep(Report):
    """One step that a command takes."""

    step: str = Field(max_length=200, description="its name, the one that events about it carry")
    title: Sentence = Field(description="the step in words")
    kind: StepClass = Field(description="its class: what may be done with it after a power cut")
    effect: Effect = Effect.NONE
    changes: list[Difference] = Field(default_factory=list)
    rebuilds: list[str] = Field(default_factory=list, description="machines that were there and are made anew, empty")
    destroys: list[str] = Field(default_factory=list, description="what is lost for good")


class Capacity(Report):
    """So many machines, and what they have together."""

    machines: int = 0
    cpus: int = 0
    memory_mib: int = 0
    disk_mib: int = 0

    def __add__(self, other: "Capacity") -> "Capacity":
        """Return both together."""
        return Capacity(
            machines=self.machines + other.machines,
            cpus=self.cpus + other.cpus,
            memory_mib=self.memory_mib + other.memory_mib,
            disk_mib=self.disk_mib + other.disk_mib,
        )


class Plan(Report):
    """What a command will do to a cluster, decided before anything is done."""

    action: Literal["apply", "delete"]
    cluster: str = Field(max_length=40, description="the cluster's name")
    wish: str = Field(max_length=64, description="SHA-256 of the canonical JSON of what is wished for")
    place: dict[str, str] = Field(description="where, as the cloud's own references by role")
    steps: list[PlannedStep] = Field(description="in the order in which they begin; machines go side by side")
    there: int = Field(ge=0, description="machines that are there and stay")
    added: Capacity = Capacity()
    removed: Capacity = Capacity()
    sha256: str = Field(default="", max_length=64, description="of the canonical JSON of all of the above")
    left_out: int = Field(default=0, description="steps of the plan that are not told, for it is too long")

    @property
    def changes_nothing(self) -> bool:
        """Whether no step adds, changes or removes anything."""
        return self.left_out == 0 and all(step.effect is Effect.NONE for step in self.steps)

    def hashed(self) -> Self:
        """Return the plan with its hash."""
        return self.model_copy(update={"sha256": digest_of(self)})

    def told(self, *, limit: int = TOLD_LIMIT) -> Self:
        """Return the plan as it is told: whole, or its first steps, in at most `limit` bytes."""
        steps, room = [], limit - len(self.model_copy(update={"steps": []}).model_dump_json().encode())
        for step in self.steps:
            room -= len(step.model_dump_json().encode()) + 1
            if room < 0:
                break
            steps.append(step)
        return self.model_copy(update={"steps": steps, "left_out": len(self.steps) - len(steps)})


def digest_of(plan: Plan) -> str:
    """Return the SHA-256 of a whole plan's canonical JSON, hexadecimal."""
    return digest(plan.model_dump(mode="json", exclude={"sha256", "left_out"}))


def digest(document: object) -> str:
    """Return the SHA-256 of a document's canonical JSON, hexadecimal."""
    return hashlib.sha256(write_canonical_json(document)).hexdigest()
