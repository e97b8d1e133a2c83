"""This file is how a plan is drawn up for whoever has to say yes to it: what each step changes, and what all come to.

It is pure, and adds nothing to the plan it draws: each step here is one that is carried out, and each one that is
carried out is here.
"""

from collections.abc import Iterable, Iterator

from gateway.clouds.port import CloudMachine, Placement
from gateway.commands.steps import Declared
from gateway.contract.clusters import ClusterSpec
from gateway.contract.commands import ApplyCluster, DeleteCluster
from gateway.contract.plans import Capacity, Difference, Effect, Plan, PlannedStep, StepClass, digest
from gateway.contract.problems import Fault
from gateway.provisioning import plans
from gateway.provisioning.plans import REMOVE, ClusterPlan, Prepared, WantedMachine

MOST_TOLD = 50
"""Differences between two plans that are told; the first tell enough."""
KEY_END, COMMENT = 8, 60


def drawn(task: ApplyCluster | DeleteCluster, plan: ClusterPlan, placement: Placement, prepared: Prepared) -> Plan:
    """Return the plan of a command as it is told, with its hash. `prepared` is how machines were prepared last."""
    spec = task.spec if isinstance(task, ApplyCluster) else None
    wish = task.model_dump(mode="json", exclude={"cluster_id", "plan"})
    new = [machine for machine in plan.wanted if machine.found is None]
    return Plan(
        action="apply" if spec is not None else "delete",
        cluster=spec.name if spec is not None else _name(task),
        wish=digest(wish),
        place=dict(placement.ids),
        steps=list(_steps(plan, spec, placement, prepared)),
        there=len(plan.wanted) - len(new),
        added=_together(Capacity(machines=1, cpus=one.cpus, memory_mib=one.memory_mib) for one in new)
        + Capacity(disk_mib=len(new) * placement.disk_mib),
        removed=_together(_capacity(one) for one in plan.surplus),
    ).hashed()


def differences(approved: Plan, made: Plan) -> list[Fault]:
    """Return in words what is otherwise in the plan that was made than in the one that was approved."""
    before, after = ({step.step: step for step in plan.steps} for plan in (approved, made))
    said = [
        *(_fault(name, f"is no longer in it: {step.title}") for name, step in before.items() if name not in after),
        *(_fault(name, f"has come to it: {step.title}") for name, step in after.items() if name not in before),
        *(_fault(name, "does something else") for name in before if name in after and before[name] != after[name]),
    ]
    others = [what for what in ("wish", "place", "there") if getattr(approved, what) != getattr(made, what)]
    return [*said, *(_fault(what, "is another") for what in others)][:MOST_TOLD]


def _steps(
    plan: ClusterPlan, spec: ClusterSpec | None, placement: Placement, prepared: Prepared
) -> Iterator[PlannedStep]:
    yield _step(plans.checking())
    if spec is not None and plan.prepares:
        for machine in plan.wanted:
            yield from _bringing_up(machine, placement, prepared)
        yield _preparing(plan, spec, prepared)
    for name in plan.gone:
        yield _step(plans.removing(name))
    for surplus in plan.surplus:
        yield _step(
            plans.removing(f"{surplus.name}{REMOVE}"),
            Effect.REMOVE,
            _sizes(surplus.cpus, surplus.memory_mib, surplus.disk_mib, goes=True),
            destroys=[f"machine {surplus.name} with its disks"],
        )
    if plan.tidies:
        yield _step(plans.tidying(), Effect.REMOVE, destroys=["the cluster's folder", "the cluster's SSH key"])


def _bringing_up(machine: WantedMachine, placement: Placement, prepared: Prepared) -> Iterator[PlannedStep]:
    if machine.clones and machine.found is None:
        changes = [*_sizes(machine.cpus, machine.memory_mib, placement.disk_mib), _template(placement)]
        lost = [machine.name] if machine.instance_uuid in prepared.machines else []
        yield _step(plans.cloning(machine), Effect.ADD, changes, rebuilds=lost)
    elif machine.clones:
        whole = Difference(what="machine", before="there, and has perhaps never run", after="whole")
        yield _step(plans.cloning(machine), Effect.CHANGE, [whole])
    if machine.starts:
        is_off = machine.found is None or not machine.found.powered_on
        power = [Difference(what="power", before="off" if machine.found else None, after="on")] if is_off else []
        yield _step(plans.starting(machine), Effect.CHANGE if is_off else Effect.NONE, power)
    yield _step(plans.reaching(machine))


def _preparing(plan: ClusterPlan, spec: ClusterSpec, prepared: Prepared) -> PlannedStep:
    unknown = [one.name for one in plan.wanted if one.found is None or one.instance_uuid not in prepared.machines]
    changes = [Difference(what=f"machine {name}", before="not prepared", after="prepared") for name in unknown]
    if len(unknown) < len(plan.wanted):
        changes += _lists(
            "ssh_authorized_keys", map(_short, prepared.ssh_authorized_keys), map(_short, spec.ssh_authorized_keys)
        )
        changes += _lists("ntp_servers", prepared.ntp_servers, spec.ntp_servers)
    return _step(plans.preparing(len(plan.wanted)), Effect.CHANGE if changes else Effect.NONE, changes)


def _step(
    declared: Declared,
    effect: Effect = Effect.NONE,
    changes: Iterable[Difference] = (),
    *,
    rebuilds: Iterable[str] = (),
    destroys: Iterable[str] = (),
) -> PlannedStep:
    return PlannedStep(
        step=declared.name,
        title=declared.title,
        kind=StepClass(declared.kind.value),
        effect=effect,
        changes=list(changes),
        rebuilds=list(rebuilds),
        destroys=list(destroys),
    )


def _sizes(cpus: int, memory_mib: int, disk_mib: int, *, goes: bool = False) -> list[Difference]:
    found = (("cpus", cpus), ("memory_mib", memory_mib), ("disk_mib", disk_mib))
    return [Difference(what=what, before=size if goes else None, after=None if goes else size) for what, size in found]


def _template(placement: Placement) -> Difference:
    return Difference(what="template", after=placement.wish.template)


def _lists(what: str, before: Iterable[str], after: Iterable[str]) -> list[Difference]:
    old, new = list(before), list(after)
    gone = [Difference(what=what, before=one) for one in old if one not in new]
    return gone + [Difference(what=what, after=one) for one in new if one not in old]


def _short(key: str) -> str:
    """Return an SSH key so that a person knows it: its kind, its end and its comment."""
    kind, blob, *comment = key.split(" ", 2)
    return " ".join([kind, f"…{blob[-KEY_END:]}", *(one[:COMMENT] for one in comment)])


def _capacity(machine: CloudMachine) -> Capacity:
    return Capacity(machines=1, cpus=machine.cpus, memory_mib=machine.memory_mib, disk_mib=machine.disk_mib)


def _together(amounts: Iterable[Capacity]) -> Capacity:
    return sum(amounts, start=Capacity())


def _name(task: ApplyCluster | DeleteCluster) -> str:
    return task.name if isinstance(task, DeleteCluster) else task.spec.name


def _fault(where: str, message: str) -> Fault:
    return Fault(where=[where], message=message)
