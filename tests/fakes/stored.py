"""This file is what the cloud in memory keeps: machines, and the clones that will bring them."""

from dataclasses import dataclass
from uuid import UUID

from gateway.clouds.port import Owner


@dataclass(slots=True)
class StoredMachine:
    """A machine as the cloud keeps it; `owner` is what is written on it, `folder` a path below the datacenter.

    `guest_metadata` is None until the clone is completed.
    """

    id: str
    name: str
    datacenter: str
    folder: str
    instance_uuid: UUID
    owner: Owner | None
    cpus: int
    memory_mib: int
    mac: str
    guest_userdata: str = ""
    guest_metadata: str | None = None
    powered_on: bool = False
    answers_at: float | None = None
    address: str | None = None


@dataclass(slots=True)
class StoredTask:
    """A clone under way: what it will bring, when, and whether it will fail."""

    ends_at: float
    machine: StoredMachine
    fails: str | None
    ended: bool = False
