"""This file is the hypervisor: what is powered on in vCenter runs here, and nothing else does.

Each VM has one coroutine, a `Slot`:

                power on                    address seen
        off ---------------> booting ------------------------> running
         ^                      |                                 |
         |   power off, reset, or the guest switched itself off   |
         +------------------ stopping <---------------------------+
         |
         +-- destroyed: the disk is removed, the slot ends

The look-out reads all VMs in one call, several times a second, and tells each slot what is wanted of it.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from datetime import datetime

import structlog

from gateway.kit.clock import Clock
from gateway.lab import machine
from gateway.lab.eye import Eye, Gone, SeenVm
from gateway.lab.machine import Disk, Ground, Guest
from gateway.lab.records import MachineStatus

log = structlog.get_logger(__name__)

LOOK_EVERY = 0.25
REPORT_EVERY = 0.25
REPORT_SETTLED_EVERY = 2.0


class Slot:
    """One VM's life, from its first sight to its destruction."""

    def __init__(self, vm: SeenVm, eye: Eye, ground: Ground, *, clock: Clock, changed: Callable[[], None]) -> None:
        self.vm: SeenVm | None = vm
        self._moid = vm.moid
        self._eye, self._ground, self._clock, self._changed = eye, ground, clock, changed
        self._told = asyncio.Event()
        self.status = MachineStatus(moid=vm.moid, name=vm.name, state="off")

    def tell(self, vm: SeenVm | None) -> None:
        """Say how the VM is now; None means that it was destroyed."""
        if vm != self.vm:
            self.vm = vm
            self._told.set()

    async def run(self) -> None:
        """Follow the VM until it is destroyed; then remove its disk."""
        while self.vm is not None:
            if not self.vm.on:
                await self._wait_for_news()
                continue
            try:
                await self._powered(self.vm.boot)
            except Gone:
                await self._wait_for_news()  # destroyed between two looks; the next look says so
            except Exception as fault:  # noqa: BLE001 - atop a loop that logs: one machine's trouble is its own
                log.warning("machine failed", machine=self._moid, error=str(fault), kind=type(fault).__name__)
                self._show(state="failed", address=None)
                await self._wait_for_news()
            else:
                self._show(state="off", address=None)
        await asyncio.to_thread(Disk(self._ground.machines / self._moid).remove)

    async def _powered(self, boot: datetime | None) -> None:
        """Keep the machine running for this one boot."""
        began = self._clock.monotonic()
        self._show(state="booting", address=None, boot_seconds=None)
        hardware = await asyncio.to_thread(self._eye.hardware, self._moid)
        self._show(macs=list(hardware.macs))
        async with machine.booted(self._moid, hardware, self._ground, clock=self._clock) as guest:
            ended = await self._until_end(guest, boot, began)
            self._show(state="stopping")
        if ended and guest.process.returncode != 0:
            raise machine.MachineDidNotBootError(f"systemd-nspawn ended with status {guest.process.returncode}")
        if ended:
            log.info("guest switched itself off", machine=self._moid)
            with contextlib.suppress(Gone):
                await asyncio.to_thread(self._eye.power_off, self._moid)
            while self._wanted(boot):
                await self._wait_for_news()

    async def _until_end(self, guest: Guest, boot: datetime | None, began: float) -> bool:
        """Return True when the guest ended by itself, False when it is no longer wanted."""
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report(guest, began))
            ending = group.create_task(guest.process.wait())
            try:
                while self._wanted(boot) and not ending.done():
                    news = group.create_task(self._wait_for_news())
                    await asyncio.wait({news, ending}, return_when=asyncio.FIRST_COMPLETED)
                    news.cancel()
                return ending.done() and self._wanted(boot)
            finally:
                reporter.cancel()
                ending.cancel()

    async def _report(self, guest: Guest, began: float) -> None:
        """Tell vCenter the guest's address and name, at first and whenever they change."""
        told: dict[str, str] = {}
        while True:
            address, hostname = await guest.address(), guest.hostname()
            if address and hostname:
                now = {"ipAddress": address, "hostName": hostname, "toolsRunningStatus": "guestToolsRunning"}
                if now != told:
                    with contextlib.suppress(Gone):
                        await asyncio.to_thread(self._eye.report, self._moid, now)
                    seconds = self.status.boot_seconds or round(self._clock.monotonic() - began, 2)
                    self._show(state="running", address=address, hostname=hostname, boot_seconds=seconds)
                    told = now
            await self._clock.sleep(REPORT_SETTLED_EVERY if told else REPORT_EVERY)

    def _wanted(self, boot: datetime | None) -> bool:
        return self.vm is not None and self.vm.on and self.vm.boot == boot

    async def _wait_for_news(self) -> None:
        await self._told.wait()
        self._told.clear()

    def _show(self, **change: object) -> None:
        name = self.vm.name if self.vm else self.status.name
        self.status = self.status.model_copy(update={"name": name, **change})
        self._changed()


class Hypervisor:
    """All slots of a lab. `publish` is handed every change of the machines' states."""

    def __init__(
        self, eye: Eye, ground: Ground, *, clock: Clock, publish: Callable[[list[MachineStatus]], None]
    ) -> None:
        self._eye, self._ground, self._clock, self._publish = eye, ground, clock, publish
        self._slots: dict[str, Slot] = {}

    async def run(self) -> None:
        """Look and follow, for ever."""
        shutil.rmtree(self._ground.machines, ignore_errors=True)
        self._ground.machines.mkdir(mode=0o700, parents=True)
        async with asyncio.TaskGroup() as group:
            while True:
                self._follow(await asyncio.to_thread(self._eye.look), group)
                await self._clock.sleep(LOOK_EVERY)

    def _follow(self, seen: list[SeenVm], group: asyncio.TaskGroup) -> None:
        vms = {vm.moid: vm for vm in seen}
        for moid in self._slots.keys() - vms.keys():
            self._slots.pop(moid).tell(None)
            self._say()
        for moid, vm in vms.items():
            if moid in self._slots:
                self._slots[moid].tell(vm)
                continue
            slot = Slot(vm, self._eye, self._ground, clock=self._clock, changed=self._say)
            self._slots[moid] = slot
            group.create_task(slot.run(), name=moid)
            self._say()

    def _say(self) -> None:
        self._publish([slot.status for slot in self._slots.values()])
