"""This file is what a cloud account offers: the names one can choose from."""

from pydantic import Field

from gateway.contract.shapes import Report


class Template(Report):
    """A virtual machine template."""

    name: str
    datacenter: str
    guest: str | None = Field(default=None, description="guest operating system as vCenter names it")


class Datastore(Report):
    """A datastore and its room."""

    name: str
    datacenter: str
    free_gib: float = Field(description="free space in GiB")
    capacity_gib: float = Field(description="size in GiB")
    accessible: bool = True


class Inventory(Report):
    """What is there to choose from in one cloud account."""

    product: str = Field(description="what answered, with its version")
    datacenters: list[str] = Field(default_factory=list)
    compute_clusters: list[str] = Field(default_factory=list)
    resource_pools: list[str] = Field(default_factory=list)
    datastores: list[Datastore] = Field(default_factory=list)
    networks: list[str] = Field(default_factory=list)
    folders: list[str] = Field(default_factory=list, description="VM folders, as paths below the datacenter")
    templates: list[Template] = Field(default_factory=list)
    machines: int = Field(default=0, description="how many virtual machines there are, templates not counted")
