"""This file is the road of a cluster: looked up, planned, brought up, prepared, trimmed; and the road back."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from gateway.clouds.port import Cloud, Connect, Placement
from gateway.commands import steps
from gateway.commands.work import Work
from gateway.contract.clusters import ClusterSpec, MachinePhase
from gateway.contract.commands import ApplyCluster, DeleteCluster, PlanCluster, ReadInventory
from gateway.contract.inventory import Inventory
from gateway.contract.plans import Plan
from gateway.playbooks.port import PlaybookRun, Playbooks, Target, TaskSeen
from gateway.provisioning import approved, artifacts, drawing, guestdata, machines, plans
from gateway.provisioning.files import ClusterFiles
from gateway.provisioning.machines import Fitter, Reached
from gateway.provisioning.plans import ClusterPlan, Earlier, Prepared


@dataclass(frozen=True, slots=True)
class Tools:
    """What provisioning works with. `state` is the appliance's directory, `artifacts` holds what roles install."""

    connect: Connect
    playbooks: Playbooks
    state: Path
    artifacts: Path


async def read_inventory(task: ReadInventory, work: Work, tools: Tools) -> Inventory:
    """Read what a cloud account offers."""
    async with (
        work.step(steps.reading("inventory", f"Read what account {task.account} offers")),
        tools.connect(task.account) as cloud,
    ):
        return await cloud.inventory()


async def plan_cluster(task: PlanCluster, work: Work, tools: Tools) -> None:
    """Report what an apply or a delete would do now, and change nothing."""
    async with tools.connect(_account(task.of)) as cloud:
        planned = await _planned(task.of, cloud, work, tools)
        approved.keep(tools.state, planned.told)


async def apply_cluster(task: ApplyCluster, work: Work, tools: Tools) -> None:
    """Bring a cluster's machines to the wished state."""
    async with tools.connect(_account(task)) as cloud:
        planned = await _planned(task, cloud, work, tools)
        await approved.require(task.plan, planned.told, work, state=tools.state)
        kept = ClusterFiles.open(tools.state, task.cluster_id)
        fitter = Fitter(cloud, planned.placement, work)
        if planned.plan.prepares:
            reached = await fitter.bring_up(planned.plan.wanted, kept)
            await _prepare(task.spec, reached, kept, work=work, tools=tools)
        await fitter.remove(planned.plan)


async def delete_cluster(task: DeleteCluster, work: Work, tools: Tools) -> None:
    """Remove every machine of a cluster, then what else was made for it."""
    async with tools.connect(_account(task)) as cloud:
        planned = await _planned(task, cloud, work, tools)
        await approved.require(task.plan, planned.told, work, state=tools.state)
        await Fitter(cloud, planned.placement, work).remove(planned.plan)
        if planned.plan.tidies:
            async with work.step(plans.tidying()):
                await cloud.tidy(task.cluster_id, task.name, planned.placement)
                ClusterFiles.forget(tools.state, task.cluster_id)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, where it is carried out, and how it is told."""

    plan: ClusterPlan
    placement: Placement
    told: Plan


async def _planned(task: ApplyCluster | DeleteCluster, cloud: Cloud, work: Work, tools: Tools) -> Planned:
    """Look at what is there, and plan: the one way to a plan, whether it is only told or carried out as well."""
    async with work.step(plans.checking()) as step:
        earlier = Earlier(
            done=frozenset(name for name, known in work.record.steps.items() if known.done),
            begun=frozenset(work.open_steps()),
        )
        if isinstance(task, ApplyCluster):
            artifacts.check(tools.artifacts)
            placement = await cloud.resolve(task.spec.cloud)
            found = await cloud.machines(task.cluster_id, placement)
            plan = plans.apply_cluster(task.cluster_id, task.spec, found, earlier=earlier)
        else:
            placement = await cloud.locate(task.cloud)
            await _settle(cloud, work)
            plan = plans.delete_cluster(await cloud.machines(task.cluster_id, placement), earlier=earlier)
        prepared = ClusterFiles.prepared(tools.state, task.cluster_id)
        step.plan = drawing.drawn(task, plan, placement, prepared)
        step.message = _in_words(plan)
        return Planned(plan, placement, step.plan)


def _account(task: ApplyCluster | DeleteCluster) -> str:
    return task.spec.cloud.account if isinstance(task, ApplyCluster) else task.cloud.account


async def _settle(cloud: Cloud, work: Work) -> None:
    """Wait for clones that an earlier command began and never saw end: they would appear after we had looked."""
    notes = [step.note for name, step in work.loose_steps() if name.endswith(plans.CLONE)]
    for note in notes:
        if note is not None:
            await cloud.settle(note)
    if None in notes:
        await cloud.settle_unnoted()


async def _prepare(spec: ClusterSpec, reached: list[Reached], kept: ClusterFiles, *, work: Work, tools: Tools) -> None:
    """Make nodes of machines: the operating system's baseline and a container runtime, on all side by side."""
    if not reached:
        return
    run = _prepare_run(spec, reached, kept, tools.artifacts)

    async def on_task(seen: TaskSeen) -> None:
        await work.progress(plans.PREPARE, f"{seen.target}: {seen.task}", done=seen.done)

    async with work.step(plans.preparing(len(reached))) as step:
        result = await tools.playbooks.run(run, on_task=on_task)
        for one in reached:
            facts = machines.facts(result.facts.get(one.machine.name, {}))
            step.seen.append(machines.seen(one.machine, MachinePhase.PREPARED, address=one.address, facts=facts))
        kept.keep_prepared(_prepared(spec, reached))
        step.message = f"{sum(result.changed.values())} changes on {len(reached)} machines"


def _prepared(spec: ClusterSpec, reached: list[Reached]) -> Prepared:
    machines = frozenset(one.machine.instance_uuid for one in reached)
    return Prepared(machines, tuple(spec.ssh_authorized_keys), tuple(spec.ntp_servers))


def _prepare_run(spec: ClusterSpec, reached: list[Reached], kept: ClusterFiles, artifacts: Path) -> PlaybookRun:
    variables: dict[str, JsonValue] = {
        "pcg_ntp_servers": list(spec.ntp_servers),
        "pcg_ssh_authorized_keys": list(spec.ssh_authorized_keys),
        "pcg_artifacts": str(artifacts),
    }
    return PlaybookRun(
        playbook="prepare",
        targets=[Target(name=one.machine.name, address=one.address) for one in reached],
        user=guestdata.USER,
        ssh_key=kept.ssh_key,
        known_hosts=kept.known_hosts,
        variables=variables,
    )


def _in_words(plan: ClusterPlan) -> str:
    new = sum(one.found is None for one in plan.wanted)
    return f"{new} machines to make, {len(plan.wanted) - new} there, {len(plan.surplus)} to remove"
