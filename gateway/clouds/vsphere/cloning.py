"""This file is how a machine is cloned so that it exists once, however often the call is cut and made again.

looked for by instance UUID -- found ----------------------------------> completed -> returned
  |                                                                          ^
  not there -> folder -> CloneVM_Task -> noted -> waited for ----------------+
                              |
                              the name is taken -- by our own (its clone is under way) -> waited for
                                                -- by another's -> NameTakenError
"""

from typing import Any

from pyVmomi import vim, vmodl

from gateway.clouds.port import CloudMachine, CloudTaskError, MachineWish, NameTakenError, NoteTask, Placement
from gateway.clouds.vsphere import interfaces, machines, marks, reading, references, tasks
from gateway.clouds.vsphere.connection import Connection
from gateway.clouds.vsphere.foreign import Reference, Structure
from gateway.clouds.vsphere.reading import Properties

MEMORY_STEP = 4
"""vCenter takes memory in multiples of so many MiB."""

ADVICE = "rename or remove it, or choose another name for the cluster"


async def clone(
    connection: Connection, wish: MachineWish, placement: Placement, *, note: NoteTask, noted: str | None
) -> CloudMachine:
    """Clone a machine, or adopt and complete the one an earlier call has begun; see the port."""
    datacenter = references.from_text(placement.ids["datacenter"], connection.wire)
    if noted is not None:
        await settle(connection, noted)
    machine = await machines.by_instance_uuid(connection, wish.instance_uuid, datacenter=datacenter)
    if machine is None:
        machine = await _made(connection, wish, placement, note=note)
    elif _missing(await machines.look(connection, machine), wish) is not None:
        # Incomplete. It may be under way still, with the template's devices for now: an address read now could be
        # another's.
        await settle_unnoted(connection)
    return await _completed(connection, machine, wish)


async def settle(connection: Connection, noted: str) -> None:
    """Wait until a noted task has ended, however it ended; one that vCenter has forgotten has."""
    await tasks.ended(connection.watch, references.from_text(noted, connection.wire))


async def settle_unnoted(connection: Connection) -> None:
    """Wait until every clone of a template that is under way now has ended.

    A task does not tell what it will make, so clones that others have begun are waited for as well.
    """
    manager = connection.content.taskManager
    recent = await reading.of(connection.collector, [manager], ["recentTask"], kind=vim.TaskManager)
    paths = (tasks.STATE, "info.descriptionId", "info.entity")
    found = await reading.of(connection.collector, recent[manager].get("recentTask", []), paths, kind=vim.Task)
    clones = {task: seen["info.entity"] for task, seen in found.items() if _is_clone_under_way(seen)}
    origins = await reading.of(connection.collector, set(clones.values()), ["config.template"], kind=vim.VirtualMachine)
    for task, origin in clones.items():
        if origins.get(origin, {}).get("config.template"):
            await tasks.ended(connection.watch, task)


def _is_clone_under_way(seen: Properties) -> bool:
    under_way = seen.get(tasks.STATE) in {"queued", "running"}
    return under_way and "clone" in seen.get("info.descriptionId", "").lower() and "info.entity" in seen


async def _made(connection: Connection, wish: MachineWish, placement: Placement, *, note: NoteTask) -> Reference:
    """Have vCenter clone the machine; adopt the one of its name when it is the same machine after all."""
    name = wish.owner.machine_name
    folder = await own_folder(connection, wish, placement)
    template = references.from_text(placement.ids["template"], connection.wire)
    spec = await _specification(connection, wish, placement)
    try:
        task = await template.CloneVM_Task(folder=folder, name=name, spec=spec)
        await note(references.text_of(task))
        return await tasks.outcome(connection.watch, task)
    except vim.fault.DuplicateName as fault:
        return await _our_own(connection, fault.object, wish)


async def _our_own(connection: Connection, other: Reference, wish: MachineWish) -> Reference:
    """Return the machine that has our name if it is ours, once vCenter has made it, else raise NameTakenError."""
    name = wish.owner.machine_name
    found = None
    if isinstance(other, vim.VirtualMachine):
        await settle_unnoted(connection)
        found = (await machines.look(connection, other, "config.instanceUuid")).get("config.instanceUuid")
        if found is None:
            raise machines.inaccessible(name)
    if found != str(wish.instance_uuid):
        raise NameTakenError(
            f"a virtual machine {name} is in the cluster's folder and is not ours: {ADVICE}", name=name
        )
    return other


async def own_folder(connection: Connection, wish: MachineWish, placement: Placement) -> Reference:
    """Return the cluster's own folder, made if it is not there; many calls may do so at once."""
    parent = references.from_text(placement.ids["folder"], connection.wire)
    wanted = machines.folder_name(wish.owner.cluster, wish.owner.cluster_name)
    found = await machines.folders(connection, wish.owner.cluster, parent=parent)
    if found:
        return found[0]
    try:
        return await parent.CreateFolder(name=wanted)
    except vim.fault.DuplicateName as fault:
        if not isinstance(fault.object, vim.Folder):
            raise
        return fault.object


async def _specification(connection: Connection, wish: MachineWish, placement: Placement) -> Structure:
    template = references.from_text(placement.ids["template"], connection.wire)
    seen = await reading.of(connection.collector, [template], ["config.hardware.device"], kind=vim.VirtualMachine)
    if template not in seen:
        raise vmodl.fault.ManagedObjectNotFound(obj=template)
    backing = None
    if "network" in placement.ids:
        network = references.from_text(placement.ids["network"], connection.wire)
        backing = await interfaces.backing_of(connection.collector, network)
    location = vim.vm.RelocateSpec(
        datastore=references.from_text(placement.ids["datastore"], connection.wire),
        pool=references.from_text(placement.ids["resource_pool"], connection.wire),
        diskMoveType="moveAllDiskBackingsAndDisallowSharing",
    )
    devices = interfaces.changes(seen[template].get("config.hardware.device"), backing=backing)
    return vim.vm.CloneSpec(location=location, template=False, powerOn=False, config=_config(wish, devices=devices))


def _config(wish: MachineWish, *, devices: list[Any]) -> Structure:
    return vim.vm.ConfigSpec(
        instanceUuid=str(wish.instance_uuid),
        numCPUs=wish.cpus,
        # The template's number of cores to a socket need not divide ours; one always does.
        numCoresPerSocket=1,
        memoryMB=_whole_steps(wish.memory_mib),
        annotation=f"Machine {wish.owner.machine_name} of Kubernetes cluster {wish.owner.cluster_name}, "
        "kept by the private cloud gateway.",
        extraConfig=marks.written(marks.at_birth(wish)),
        deviceChange=devices,
        # Without its OVF properties the machine has one source of cloud-init data: ours.
        vAppConfigRemoved=True,
    )


def _whole_steps(mebibytes: int) -> int:
    return -(-mebibytes // MEMORY_STEP) * MEMORY_STEP


async def _completed(connection: Connection, machine: Reference, wish: MachineWish) -> CloudMachine:
    """Write what is missing on a machine, unless it already runs, and return it."""
    seen = await machines.look(connection, machine)
    if not seen.get("config.instanceUuid"):
        raise machines.inaccessible(wish.owner.machine_name)
    if interfaces.mac_of(seen.get("config.hardware.device")) is None:
        raise CloudTaskError(f"machine {wish.owner.machine_name} has no network interface: {ADVICE}")
    spec = _missing(seen, wish)
    if spec is not None and seen.get("runtime.powerState") == machines.OFF:
        await tasks.done(connection.watch, lambda: machine.ReconfigVM_Task(spec=spec))
        seen = await machines.look(connection, machine)
    described = machines.described(machine, seen)
    if described is None:
        raise CloudTaskError(
            f"machine {wish.owner.machine_name} has lost our marks and runs: power it off and try again",
            machine=wish.owner.machine_name,
        )
    return described


def _missing(seen: Properties, wish: MachineWish) -> Structure | None:
    """Return the change that makes a machine what is wished; None when it is that already."""
    there = marks.read(seen.get("config.extraConfig"))
    mac = interfaces.mac_of(seen.get("config.hardware.device")) or ""
    settings = {key: value for key, value in marks.complete(wish, mac=mac).items() if there.get(key) != value}
    sized = seen.get("config.hardware.numCPU") == wish.cpus
    sized = sized and seen.get("config.hardware.memoryMB") == _whole_steps(wish.memory_mib)
    if sized and not settings:
        return None
    return vim.vm.ConfigSpec(
        numCPUs=wish.cpus, memoryMB=_whole_steps(wish.memory_mib), extraConfig=marks.written(settings)
    )
