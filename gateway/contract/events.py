"""This file is every event an appliance may report about a command."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from gateway.contract.clusters import Machine
from gateway.contract.inventory import Inventory
from gateway.contract.plans import Plan
from gateway.contract.problems import Problem
from gateway.contract.shapes import Report, Sentence


class CommandOutcome(StrEnum):
    """How a command ended."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    """It cannot be done, and nothing was changed."""
    FAILED = "failed"
    """It ended half-way; sending the same wish again goes on from there."""
    CANCELLED = "cancelled"
    """It was cancelled, or a later command took its place."""
    UNKNOWN = "unknown"
    """Nobody can tell whether a step that must not be done twice was done: a person has to look; since version 3."""


class CommandBegan(Report):
    """The command is being carried out; `attempt` above 1 means that the appliance was started again."""

    type: Literal["command.began"] = "command.began"
    attempt: int = Field(ge=1)


class StepBegan(Report):
    """A named step has begun."""

    type: Literal["step.began"] = "step.began"
    step: str = Field(max_length=200, description="stable name within the command, such as demo-workers-0/clone")
    title: Sentence = Field(description="the step in words")


class StepProgress(Report):
    """A step says how far it is."""

    type: Literal["step.progress"] = "step.progress"
    step: str = Field(max_length=200)
    message: Sentence
    done: int | None = Field(default=None, description="units done, when they can be counted")


class StepDone(Report):
    """A step has ended well; `seconds` is how long this attempt took."""

    type: Literal["step.done"] = "step.done"
    step: str = Field(max_length=200)
    message: Sentence = ""
    seconds: float = 0.0
    plan: Plan | None = Field(default=None, description="what the command will do, when this step has decided that")


class StepFailed(Report):
    """A step has failed."""

    type: Literal["step.failed"] = "step.failed"
    step: str = Field(max_length=200)
    problem: Problem


class MachineSeen(Report):
    """A machine has come a step further, or was removed."""

    type: Literal["machine.seen"] = "machine.seen"
    machine: Machine


class CommandEnded(Report):
    """The command has ended; nothing more will be said about it."""

    type: Literal["command.ended"] = "command.ended"
    outcome: CommandOutcome
    problem: Problem | None = None
    inventory: Inventory | None = Field(default=None, description="the result of inventory.read")


EventBody = Annotated[
    CommandBegan | StepBegan | StepProgress | StepDone | StepFailed | MachineSeen | CommandEnded,
    Field(discriminator="type"),
]


class Event(Report):
    """A numbered report. Numbers of one appliance rise by one and are never used twice."""

    number: int = Field(ge=1)
    command_id: UUID
    at: AwareDatetime = Field(description="by the appliance's clock")
    body: EventBody
