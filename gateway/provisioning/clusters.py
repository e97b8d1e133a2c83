"""This file is the road of a cluster: looked up, planned, brought up, prepared, trimmed; and the road back."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from gateway.clouds.port import Cloud, Connect
from gateway.commands import steps
from gateway.commands.work import Work
from gateway.contract.clusters import ClusterSpec, MachinePhase
from gateway.contract.commands import ApplyCluster, DeleteCluster, ReadInventory
from gateway.contract.inventory import Inventory
from gateway.playbooks.port import PlaybookRun, Playbooks, Target, TaskSeen
from gateway.provisioning import artifacts, guestdata, machines, plans
from gateway.provisioning.files import ClusterFiles
from gateway.provisioning.machines import Fitter, Reached

PREPARE = "prepare"


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


async def apply_cluster(task: ApplyCluster, work: Work, tools: Tools) -> None:
    """Bring a cluster's machines to the wished state."""
    spec = task.spec
    async with tools.connect(spec.cloud.account) as cloud:
        async with work.step(steps.reading("check", "Look up what the cluster file names")) as step:
            artifacts.check(tools.artifacts)
            placement = await cloud.resolve(spec.cloud)
            plan = plans.apply_cluster(task.cluster_id, spec, await cloud.machines(task.cluster_id, placement))
            step.message = _in_words(plan)
        kept = ClusterFiles.open(tools.state, task.cluster_id)
        fitter = Fitter(cloud, placement, work)
        if not (work.is_done(PREPARE) and plan.is_up):
            reached = await fitter.bring_up(plan.wanted, kept)
            await _prepare(spec, reached, kept, work=work, tools=tools)
        await fitter.remove(plan.surplus)


async def delete_cluster(task: DeleteCluster, work: Work, tools: Tools) -> None:
    """Remove every machine of a cluster, then what else was made for it."""
    async with tools.connect(task.cloud.account) as cloud:
        async with work.step(steps.reading("check", "Look up the cluster's machines")) as step:
            placement = await cloud.locate(task.cloud)
            await _settle(cloud, work)
            plan = plans.delete_cluster(await cloud.machines(task.cluster_id, placement))
            step.message = _in_words(plan)
        await Fitter(cloud, placement, work).remove(plan.surplus)
        async with work.step(steps.bringing("tidy", "Remove the cluster's folder and keys")):
            await cloud.tidy(task.cluster_id, task.name, placement)
            ClusterFiles.forget(tools.state, task.cluster_id)


async def _settle(cloud: Cloud, work: Work) -> None:
    """Wait for clones that an earlier command began and never saw end: they would appear after we had looked."""
    notes = [step.note for name, step in work.loose_steps() if name.endswith(machines.CLONE)]
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
        await work.progress(PREPARE, f"{seen.target}: {seen.task}", done=seen.done)

    title = f"Prepare {len(reached)} machines: operating system and container runtime"
    async with work.step(steps.bringing(PREPARE, title)) as step:
        result = await tools.playbooks.run(run, on_task=on_task)
        for one in reached:
            facts = machines.facts(result.facts.get(one.machine.name, {}))
            step.seen.append(machines.seen(one.machine, MachinePhase.PREPARED, address=one.address, facts=facts))
        step.message = f"{sum(result.changed.values())} changes on {len(reached)} machines"


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


def _in_words(plan: plans.ClusterPlan) -> str:
    new = sum(one.found is None for one in plan.wanted)
    return f"{new} machines to make, {len(plan.wanted) - new} there, {len(plan.surplus)} to remove"
