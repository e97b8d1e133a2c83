"""This file is every command a console may relay to an appliance."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer

from gateway.contract.clusters import CloudPlacement, ClusterSpec
from gateway.contract.plans import PlanHash
from gateway.contract.shapes import Name, ObjectName, Wish


class Planned(Wish):
    """A wish that may be bound to the plan that somebody has seen and approved."""

    plan: PlanHash | None = Field(
        default=None, description="nothing is changed unless the plan made when it begins is this very one"
    )

    @model_serializer(mode="wrap")
    def _unsaid_if_unset(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # An older appliance refuses fields it does not know: it hears of this one only when it matters.
        said: dict[str, Any] = written(self)
        return said if self.plan is not None else {name: value for name, value in said.items() if name != "plan"}


class ApplyCluster(Planned):
    """Bring a cluster's machines to the wished state: create what is missing, remove what is too many."""

    kind: Literal["cluster.apply"] = "cluster.apply"
    cluster_id: UUID = Field(description="the cluster's id; machines' instance UUIDs derive from it")
    spec: ClusterSpec

    @property
    def resource(self) -> str:
        """What the command works on; two commands on one resource never run at once."""
        return f"cluster/{self.cluster_id}"


class DeleteCluster(Planned):
    """Remove every machine of a cluster and what was made for it."""

    kind: Literal["cluster.delete"] = "cluster.delete"
    cluster_id: UUID
    name: Name
    cloud: CloudPlacement

    @property
    def resource(self) -> str:
        """What the command works on; two commands on one resource never run at once."""
        return f"cluster/{self.cluster_id}"


class PlanCluster(Wish):
    """Say what an apply or a delete would do, and change nothing."""

    kind: Literal["cluster.plan"] = "cluster.plan"
    of: Annotated[ApplyCluster | DeleteCluster, Field(discriminator="kind")]

    @property
    def resource(self) -> str:
        """What the command works on; while a cluster is being changed there is nothing to plan from."""
        return self.of.resource


class ReadInventory(Wish):
    """Read what a cloud account offers."""

    kind: Literal["inventory.read"] = "inventory.read"
    account: Name

    @property
    def resource(self) -> str:
        """What the command works on; two commands on one resource never run at once."""
        return f"account/{self.account}"


CONTROL = "control"
"""The resource of commands about commands: they are carried out by being written down, and wait for nobody."""

Resource = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]+/[A-Za-z0-9._-]{1,100}$"),
    Field(description="what commands work on, as in cluster/ID or account/NAME"),
]


class CancelCommand(Wish):
    """End another command: at once if it has not begun, else as soon as its step lets go."""

    kind: Literal["command.cancel"] = "command.cancel"
    command_id: UUID = Field(description="the command to end")

    @property
    def resource(self) -> str:
        """What the command works on: none that anything else waits for."""
        return CONTROL


class PauseCommands(Wish):
    """Begin nothing new until told otherwise; what runs goes on."""

    kind: Literal["commands.pause"] = "commands.pause"
    on: Resource | None = Field(default=None, description="the only resource to pause; everything when left out")

    @property
    def resource(self) -> str:
        """What the command works on: none that anything else waits for."""
        return CONTROL


class ResumeCommands(Wish):
    """Begin again what was held by a pause."""

    kind: Literal["commands.resume"] = "commands.resume"
    on: Resource | None = Field(default=None, description="the only resource to resume; everything when left out")

    @property
    def resource(self) -> str:
        """What the command works on: none that anything else waits for."""
        return CONTROL


Task = Annotated[
    ApplyCluster | DeleteCluster | PlanCluster | ReadInventory | CancelCommand | PauseCommands | ResumeCommands,
    Field(discriminator="kind"),
]


class Command(Wish):
    """One wish, relayed to an appliance."""

    id: UUID = Field(description="made by the console; the same id is carried out once, however often it arrives")
    task: Task
    author: ObjectName = Field(description="who asked")
    created_at: AwareDatetime = Field(description="by the console's clock")
    time_limit: int = Field(
        default=3600,
        ge=10,
        le=86400,
        description="seconds one attempt may take, by the appliance's monotonic clock; a restart begins a new attempt",
    )
