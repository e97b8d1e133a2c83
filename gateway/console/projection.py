"""This file is what a report changes: a pure function from a command, its cluster and an event to their next state.

::

    command   pending -> accepted -> running -> succeeded | refused | failed | cancelled | unknown
              pending -> rejected | cancelled

    cluster   pending -> provisioning -> ready | failed          cluster.apply
              any -> deleting -> gone | failed                   cluster.delete

Reports may come twice and, after a crash, out of step with the answers to deliveries: nothing here ever goes
back, and an ended command stays as it ended.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from gateway.console.records import Cluster, CommandState, Settled, StoredCommand
from gateway.contract.clusters import ClusterPhase, ClusterSpec, Machine, MachinePhase
from gateway.contract.commands import ApplyCluster, DeleteCluster
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, EventBody, MachineSeen, StepDone
from gateway.contract.plans import Plan
from gateway.contract.problems import Problem

STATE_OF = {
    CommandOutcome.SUCCEEDED: CommandState.SUCCEEDED,
    CommandOutcome.REFUSED: CommandState.REFUSED,
    CommandOutcome.FAILED: CommandState.FAILED,
    CommandOutcome.CANCELLED: CommandState.CANCELLED,
    CommandOutcome.UNKNOWN: CommandState.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A command, its cluster (None: it has none, or it is gone), and what else bears on the cluster's state.

    `machines` is how many it has; `earlier` is the latest other command for it that has not ended.
    """

    command: StoredCommand
    cluster: Cluster | None = None
    machines: int = 0
    earlier: StoredCommand | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """The next picture, and the machine that was seen. A cluster that is None now and was not before is gone.

    `reached` is the wish that was carried out to its end: no machine beside those it names is there any more.
    """

    command: StoredCommand
    cluster: Cluster | None
    machine: Machine | None = None
    reached: ClusterSpec | None = None


def accepted(before: Picture, *, now: datetime) -> Changed:
    """The appliance has the command in its journal."""
    if before.command.state is not CommandState.PENDING:
        return Changed(before.command, before.cluster)
    command = replace(before.command, state=CommandState.ACCEPTED, accepted_at=now)
    return Changed(command, _under_way(before, now))


def rejected(before: Picture, problem: Problem, *, now: datetime) -> Changed:
    """The appliance will never carry the command out; nothing was changed."""
    if before.command.state is not CommandState.PENDING:
        return Changed(before.command, before.cluster)
    command = replace(before.command, state=CommandState.REJECTED, problem=problem, ended_at=now)
    return Changed(command, _fallen_back(before, problem, now))


def withdrawn(before: Picture, problem: Problem, *, now: datetime) -> Changed:
    """The console takes the command back before anybody was told of it; the caller sees to the cluster."""
    command = replace(before.command, state=CommandState.CANCELLED, problem=problem, ended_at=now)
    return Changed(command, before.cluster)


def reported(before: Picture, body: EventBody, *, now: datetime) -> Changed:
    """The appliance reports about a command."""
    match body:
        case CommandBegan() if not before.command.state.has_ended:
            began_at = before.command.began_at or now
            command = replace(
                before.command,
                state=CommandState.RUNNING,
                began_at=began_at,
                accepted_at=before.command.accepted_at or now,
            )
            return Changed(command, _under_way(before, now))
        case StepDone(plan=Plan() as plan) if before.command.plan is None:
            return Changed(replace(before.command, plan=plan), before.cluster)
        case MachineSeen(machine=machine):
            return Changed(before.command, before.cluster, machine)
        case CommandEnded() if not before.command.state.has_ended:
            cluster = _cluster_after(before, body, now)
            return Changed(_ended(before.command, body, now), cluster, reached=_reached(before, body))
        case _:
            return Changed(before.command, before.cluster)


def is_gone(machine: Machine) -> bool:
    """Tell whether a machine is no longer there."""
    return machine.phase is MachinePhase.REMOVED


def places(spec: ClusterSpec) -> frozenset[tuple[str, int]]:
    """Return pool and ordinal of every machine that a wish names."""
    return frozenset((pool.name, ordinal) for pool in spec.pools for ordinal in range(pool.count))


def _reached(before: Picture, body: CommandEnded) -> ClusterSpec | None:
    task = before.command.command.task
    return task.spec if isinstance(task, ApplyCluster) and body.outcome is CommandOutcome.SUCCEEDED else None


def _ended(command: StoredCommand, body: CommandEnded, now: datetime) -> StoredCommand:
    state = STATE_OF[body.outcome]
    accepted_at = command.accepted_at or now
    return replace(
        command,
        state=state,
        problem=body.problem,
        inventory=body.inventory,
        ended_at=now,
        accepted_at=accepted_at,
    )


def _under_way(before: Picture, now: datetime) -> Cluster | None:
    cluster = before.cluster
    if cluster is None or not _is_last(before) or cluster.phase is not ClusterPhase.PENDING:
        return cluster
    return replace(cluster, phase=ClusterPhase.PROVISIONING, updated_at=now)


def _cluster_after(before: Picture, body: CommandEnded, now: datetime) -> Cluster | None:
    match before.command.command.task, body.outcome:
        case ((ApplyCluster() | DeleteCluster()), CommandOutcome.REFUSED):
            return _fallen_back(before, body.problem, now)
        case ((ApplyCluster() | DeleteCluster()), CommandOutcome.CANCELLED) if before.command.began_at is None:
            return _fallen_back(before, body.problem, now)
        case DeleteCluster(), CommandOutcome.SUCCEEDED:
            return None
        case ApplyCluster(), CommandOutcome.SUCCEEDED:
            return _settled(before, ClusterPhase.READY, None, now)
        case (
            (ApplyCluster() | DeleteCluster()),
            (CommandOutcome.FAILED | CommandOutcome.CANCELLED | CommandOutcome.UNKNOWN),
        ):
            return _settled(before, ClusterPhase.FAILED, body.problem, now)
        case _:
            return before.cluster


def _settled(before: Picture, phase: ClusterPhase, problem: Problem | None, now: datetime) -> Cluster | None:
    cluster = before.cluster
    if cluster is None:
        return None
    task = before.command.command.task
    spec = task.spec if isinstance(task, ApplyCluster) else cluster.spec
    cluster = replace(cluster, settled=Settled(spec, phase), updated_at=now)
    return replace(cluster, phase=phase, problem=problem) if _is_last(before) else cluster


def _fallen_back(before: Picture, problem: Problem | None, now: datetime) -> Cluster | None:
    """Nothing was changed: the cluster is what it was before the wish, and is gone if it was nothing."""
    cluster = before.cluster
    if cluster is None or not _is_last(before):
        return cluster
    if before.earlier is not None:
        return _handed_back(replace(cluster, problem=problem, updated_at=now), before.earlier)
    if cluster.settled is not None:
        settled = cluster.settled
        return replace(cluster, spec=settled.spec, phase=settled.phase, problem=problem, updated_at=now)
    if before.machines == 0 and isinstance(before.command.command.task, ApplyCluster):
        return None
    return replace(cluster, phase=ClusterPhase.FAILED, problem=problem, updated_at=now)


def _handed_back(cluster: Cluster, earlier: StoredCommand) -> Cluster:
    task = earlier.command.task
    if isinstance(task, DeleteCluster):
        return replace(cluster, last_command=earlier.id, phase=ClusterPhase.DELETING)
    pending = earlier.state is CommandState.PENDING
    phase = ClusterPhase.PENDING if pending else ClusterPhase.PROVISIONING
    spec = task.spec if isinstance(task, ApplyCluster) else cluster.spec
    return replace(cluster, last_command=earlier.id, phase=phase, spec=spec)


def _is_last(before: Picture) -> bool:
    return before.cluster is not None and before.cluster.last_command == before.command.id
