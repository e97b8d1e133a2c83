"""This file is the wishes that tests begin from."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from gateway.contract.clusters import CloudPlacement, ClusterSpec, NodePool, PoolRole
from gateway.contract.commands import ApplyCluster, Command, DeleteCluster, ReadInventory, Task

WHEN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PLACEMENT = CloudPlacement(account="lab", template="debian-12")


def a_cluster(name: str = "demo", *, workers: int = 2, cpus: int = 2) -> ClusterSpec:
    return ClusterSpec(
        name=name,
        gateway="dc1",
        cloud=PLACEMENT,
        pools=[
            NodePool(name="cp", role=PoolRole.CONTROL_PLANE, count=1, cpus=cpus),
            NodePool(name="workers", role=PoolRole.WORKER, count=workers, cpus=cpus),
        ],
    )


def a_command(task: Task, *, command_id: UUID | None = None, time_limit: int = 600) -> Command:
    return Command(id=command_id or uuid4(), task=task, author="test", created_at=WHEN, time_limit=time_limit)


def an_apply(cluster_id: UUID | None = None, spec: ClusterSpec | None = None) -> Command:
    return a_command(ApplyCluster(cluster_id=cluster_id or uuid4(), spec=spec or a_cluster()))


def a_delete(cluster_id: UUID, name: str = "demo") -> Command:
    return a_command(DeleteCluster(cluster_id=cluster_id, name=name, cloud=PLACEMENT))


def a_read() -> Command:
    return a_command(ReadInventory(account="lab"))
