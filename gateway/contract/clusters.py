"""This file is what a cluster is: what somebody wishes for, and what was found of it."""

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from gateway.contract.shapes import Name, ObjectName, Report, Sentence, Wish

SshKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [^\x00-\x1f\x7f]*)?$",
        max_length=8192,
    ),
]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:]([A-Za-z0-9.:-]{0,252})$")]


class PoolRole(StrEnum):
    """What the machines of a pool are for."""

    CONTROL_PLANE = "control-plane"
    WORKER = "worker"


class NodePool(Wish):
    """Machines of one size and purpose."""

    name: Annotated[Name, StringConstraints(max_length=15)] = Field(
        description="unique within the cluster, up to 15 characters"
    )
    role: PoolRole = Field(description="control-plane or worker")
    count: int = Field(ge=0, le=500, description="number of machines")
    cpus: int = Field(default=2, ge=1, le=128, description="virtual CPUs of each machine")
    memory_mib: int = Field(
        default=2048, ge=512, le=4_194_304, multiple_of=4, description="memory of each machine, in MiB; a multiple of 4"
    )


class CloudPlacement(Wish):
    """Where in the cloud the machines go; what is left out is chosen when there is only one."""

    account: Name = Field(description="cloud account, by the name the appliance knows it by")
    template: ObjectName = Field(description="virtual machine template that machines are cloned from")
    datacenter: ObjectName | None = Field(default=None, description="datacenter")
    compute_cluster: ObjectName | None = Field(default=None, description="compute cluster or stand-alone host")
    resource_pool: ObjectName | None = Field(default=None, description="resource pool in the compute cluster")
    datastore: ObjectName | None = Field(default=None, description="datastore for the machines' disks")
    network: ObjectName | None = Field(
        default=None, description="network of the first interface; by default the template's"
    )
    folder: ObjectName | None = Field(
        default=None, description="VM folder under which the cluster's own folder is made"
    )


class ClusterSpec(Wish):
    """A cluster as somebody wishes it to be."""

    name: Name = Field(description="unique within the project")
    gateway: Name = Field(description="the gateway whose data centre the cluster lives in")
    cloud: CloudPlacement = Field(description="where in the cloud the machines go")
    pools: list[NodePool] = Field(
        min_length=1, max_length=50, description="node pools; one of them is the control plane"
    )
    ssh_authorized_keys: list[SshKey] = Field(
        default_factory=list, max_length=50, description="public keys that may sign in to the machines"
    )
    ntp_servers: list[Host] = Field(
        default_factory=list, max_length=10, description="time servers; by default the template's own"
    )

    @model_validator(mode="after")
    def _pools_make_a_cluster(self) -> Self:
        names = [pool.name for pool in self.pools]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two pools are named {name!r}: give each its own name")
        control_planes = [pool for pool in self.pools if pool.role is PoolRole.CONTROL_PLANE]
        if len(control_planes) != 1:
            raise ValueError(f"a cluster has exactly one control-plane pool, this one has {len(control_planes)}")
        if control_planes[0].count not in (1, 3, 5, 7):
            raise ValueError(
                f"the control plane has {control_planes[0].count} machines: etcd needs an odd number, 1, 3, 5 or 7"
            )
        return self


class ClusterPhase(StrEnum):
    """Where a cluster is in its life."""

    PENDING = "pending"
    """The wish is remembered; no appliance has accepted it yet."""
    PROVISIONING = "provisioning"
    """An appliance is bringing the machines to the wished state."""
    READY = "ready"
    """The last change ended well."""
    FAILED = "failed"
    """The last change ended badly; what it had made is still there, and the same wish can be sent again."""
    DELETING = "deleting"
    """An appliance is removing the machines."""


class MachinePhase(StrEnum):
    """How far one machine has come."""

    CLONED = "cloned"
    POWERED_ON = "powered-on"
    REACHABLE = "reachable"
    PREPARED = "prepared"
    REMOVED = "removed"


class MachineFacts(Report):
    """What was found on a machine, by Ansible."""

    os: Sentence | None = Field(default=None, description="operating system, such as Debian GNU/Linux 12 (bookworm)")
    kernel: Sentence | None = Field(default=None, description="kernel release")
    container_runtime: Sentence | None = Field(default=None, description="such as containerd 1.6.20")
    cpus: int | None = Field(default=None, description="processors the machine sees")
    memory_mib: int | None = Field(default=None, description="memory the machine sees, in MiB")
    swap_off: bool | None = Field(default=None, description="no swap is in use")
    time_sync: Sentence | None = Field(default=None, description="what keeps the clock right")


class Machine(Report):
    """One machine of a cluster as it was last seen."""

    name: str = Field(max_length=80, description="name of the virtual machine and host name")
    pool: str = Field(max_length=40, description="its pool")
    role: PoolRole | None = Field(default=None, description="what its pool is for")
    ordinal: int = Field(ge=0, description="its number within the pool, from 0")
    instance_uuid: UUID = Field(description="vSphere instance UUID, derived from cluster, pool and ordinal")
    phase: MachinePhase = Field(description="how far it has come")
    address: str | None = Field(default=None, max_length=64, description="IP address, once known")
    facts: MachineFacts | None = Field(default=None, description="what Ansible found on it")
