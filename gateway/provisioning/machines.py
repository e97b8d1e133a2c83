"""This file is the life of one machine: cloned, powered on, reached, and in the end removed.

::

    <machine>/clone ---> <machine>/power-on ---> <machine>/address          <machine>/remove

Each is a step of the command's journal, and each looks before it acts.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from gateway.clouds.port import Cloud, CloudMachine, MachineWish, Owner, Placement
from gateway.commands.work import Work
from gateway.contract.clusters import Machine, MachineFacts, MachinePhase
from gateway.kit.errors import GatewayError, Remedy
from gateway.provisioning import guestdata, plans
from gateway.provisioning.files import ClusterFiles
from gateway.provisioning.plans import REMOVE, ClusterPlan, WantedMachine

ADDRESS_LIMIT = 600.0
"""Seconds a machine may take from power-on until its tools report an address."""

AT_ONCE = 16
"""Machines that are being made or removed at the same time, per command."""


class NoAddressError(GatewayError):
    """A machine was powered on and reports no usable address."""

    code = "machine.no_address"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Reached:
    """A machine that is powered on and has an address."""

    machine: CloudMachine
    address: str


@dataclass(frozen=True, slots=True)
class Fitter:
    """Makes and removes the machines of one command in one cloud."""

    cloud: Cloud
    placement: Placement
    work: Work

    async def bring_up(self, wanted: tuple[WantedMachine, ...], kept: ClusterFiles) -> list[Reached]:
        """Bring every wanted machine up, side by side, and return them in the same order."""
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._bring_up_one(one, kept, places)) for one in wanted]
        return [task.result() for task in tasks]

    async def remove(self, plan: ClusterPlan) -> None:
        """Remove machines, side by side; those that an earlier attempt removed without saying so are told of."""
        places = asyncio.Semaphore(AT_ONCE)
        for gone in plan.gone:
            async with self.work.step(plans.removing(gone)) as step:
                noted = self.work.noted(gone)
                step.seen += [Machine.model_validate_json(noted)] if noted else []
        async with asyncio.TaskGroup() as group:
            for machine in plan.surplus:
                group.create_task(self._remove_one(machine, places))

    async def _bring_up_one(self, wanted: WantedMachine, kept: ClusterFiles, places: asyncio.Semaphore) -> Reached:
        async with places:
            machine = await self._cloned(wanted, kept)
            if wanted.starts:
                async with self.work.step(plans.starting(wanted)) as step:
                    await self.cloud.power_on(machine)
                    step.seen.append(seen(machine, MachinePhase.POWERED_ON))
            return Reached(machine, await self._address(wanted, machine))

    async def _cloned(self, wanted: WantedMachine, kept: ClusterFiles) -> CloudMachine:
        if wanted.found is not None and not wanted.clones:
            return wanted.found
        if wanted.found is None:
            kept.forget_host(wanted.name)
        cloning = plans.cloning(wanted)
        step = cloning.name
        async with self.work.step(cloning) as under_way:

            async def note(task: str) -> None:
                await self.work.note(step, task)

            wish = _wish(wanted, kept)
            machine = await self.cloud.clone(wish, self.placement, note=note, noted=self.work.noted(step))
            under_way.message = f"{machine.cpus} CPUs, {machine.memory_mib} MiB"
            under_way.seen.append(seen(machine, MachinePhase.CLONED))
        return machine

    async def _address(self, wanted: WantedMachine, machine: CloudMachine) -> str:
        async with self.work.step(plans.reaching(wanted)) as under_way:
            try:
                async with asyncio.timeout(ADDRESS_LIMIT):
                    under_way.message = await self.cloud.address(machine)
            except TimeoutError as fault:
                raise NoAddressError(
                    f"machine {machine.name} has reported no usable address for {ADDRESS_LIMIT:.0f} seconds: look at "
                    "its console in vCenter, and whether its network has DHCP and its template runs VMware Tools",
                    machine=machine.name,
                ) from fault
            under_way.seen.append(seen(machine, MachinePhase.REACHABLE, address=under_way.message))
        return under_way.message

    async def _remove_one(self, machine: CloudMachine, places: asyncio.Semaphore) -> None:
        removing = plans.removing(f"{machine.name}{REMOVE}")
        async with places, self.work.step(removing) as step:
            removed = seen(machine, MachinePhase.REMOVED)
            await self.work.note(step.name, removed.model_dump_json())
            await self.cloud.remove(machine)
            step.seen.append(removed)


def seen(
    machine: CloudMachine, phase: MachinePhase, *, address: str | None = None, facts: MachineFacts | None = None
) -> Machine:
    """Return a machine in the shape in which it is reported."""
    owner: Owner = machine.owner
    return Machine(
        name=machine.name,
        pool=owner.pool,
        role=owner.role,
        ordinal=owner.ordinal,
        instance_uuid=machine.instance_uuid,
        phase=phase,
        address=address or machine.address,
        facts=facts,
    )


def facts(found: Mapping[str, JsonValue]) -> MachineFacts:
    """Return what Ansible found on a machine; what does not have the shape of a fact is left out."""
    kept: dict[str, JsonValue] = {}
    for name in MachineFacts.model_fields:
        if name in found:
            with suppress(ValidationError):
                MachineFacts.model_validate({name: found[name]})
                kept[name] = found[name]
    return MachineFacts.model_validate(kept)


def _wish(wanted: WantedMachine, kept: ClusterFiles) -> MachineWish:
    return MachineWish(
        owner=wanted.owner,
        instance_uuid=wanted.instance_uuid,
        cpus=wanted.cpus,
        memory_mib=wanted.memory_mib,
        guest_metadata=guestdata.meta_data(instance=wanted.instance_uuid, host_name=wanted.name),
        guest_userdata=guestdata.user_data(authorized_key=kept.public_key()),
    )
