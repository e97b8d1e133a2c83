"""This file is what a customer of vCenter does with it, in plain pyVmomi: the lab's tests' other hand."""

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from gateway.lab.labs import Lab

Foreign: TypeAlias = Any
"""pyVmomi has no types."""


class TaskFailedError(Exception):
    """A vCenter task ended in error; `args[0]` is the fault."""


@dataclass(frozen=True)
class Customer:
    """A session with a lab's vCenter, from outside of the data centre. Methods block."""

    lab: Lab
    service: Foreign

    def find(self, name: str) -> Foreign:
        content = self.service.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.ManagedEntity], recursive=True)
        try:
            return next(entity for entity in view.view if entity.name == name)
        finally:
            view.Destroy()

    def clone(
        self, name: str, *, guestinfo: Mapping[str, str] | None = None, power_on: bool = True, **config: Foreign
    ) -> Foreign:
        template = self.find(self.lab.template)
        extra = [vim.option.OptionValue(key=key, value=value) for key, value in (guestinfo or {}).items()]
        spec = vim.vm.CloneSpec(
            location=vim.vm.RelocateSpec(pool=self.find(self.lab.cluster).resourcePool),
            powerOn=power_on,
            template=False,
            config=vim.vm.ConfigSpec(extraConfig=extra, **config),
        )
        return self.done(template.CloneVM_Task(template.parent, name, spec))

    def clone_node(self, name: str, public_key: str, **config: Foreign) -> Foreign:
        """Clone, write guestinfo that matches the clone's MAC, power on."""
        vm = self.clone(name, power_on=False, **config)
        options = guestinfo(name, public_key, mac=mac_of(vm))
        extra = [vim.option.OptionValue(key=key, value=value) for key, value in options.items()]
        self.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=extra)))
        self.done(vm.PowerOnVM_Task())
        return vm

    def done(self, task: Foreign, *, limit: float = 30) -> Foreign:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            info = task.info
            if info.state == "success":
                return info.result
            if info.state == "error":
                raise TaskFailedError(info.error)
            time.sleep(0.05)
        raise TimeoutError(f"task {task._moId} did not end within {limit} s")

    def machines(self) -> list[Foreign]:
        """All VMs but templates."""
        content = self.service.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
        try:
            return [vm for vm in view.view if not vm.config.template]
        finally:
            view.Destroy()

    def remove_all(self) -> None:
        for vm in self.machines():
            self.remove(vm)

    async def seen(self, name: str) -> None:
        """Wait until there is a VM of that name."""
        await until(lambda: [vm for vm in self.machines() if vm.name == name], limit=10)

    def remove(self, vm: Foreign) -> None:
        if vm.runtime.powerState == "poweredOn":
            self.done(vm.PowerOffVM_Task())
        self.done(vm.Destroy_Task())


def mac_of(vm: Foreign) -> str:
    cards = [one for one in vm.config.hardware.device if isinstance(one, vim.vm.device.VirtualEthernetCard)]
    return str(cards[0].macAddress)


@asynccontextmanager
async def customer(lab: Lab, *, password: str | None = None) -> AsyncIterator[Customer]:
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    service = await asyncio.to_thread(
        SmartConnect, host=lab.outside_vcenter_host, user=lab.user, pwd=password or lab.password, sslContext=context
    )
    try:
        yield Customer(lab, service)
    finally:
        await asyncio.to_thread(Disconnect, service)
        service._stub.DropConnections()


def guestinfo(hostname: str, public_key: str, *, mac: str) -> dict[str, str]:
    """What a gateway writes on a VM: who it is, and who may log in."""
    metadata = f"""\
instance-id: {hostname}
local-hostname: {hostname}
network:
  version: 2
  ethernets:
    nics:
      match: {{macaddress: "{mac}"}}
      set-name: eth0
      dhcp4: true
"""
    userdata = f"""\
#cloud-config
users:
  - name: ops
    sudo: ALL=(ALL) NOPASSWD:ALL
    ssh_authorized_keys: ["{public_key}"]
"""
    encoded = {
        f"guestinfo.{part}": base64.b64encode(text.encode()).decode()
        for part, text in (("metadata", metadata), ("userdata", userdata))
    }
    return {**encoded, "guestinfo.metadata.encoding": "base64", "guestinfo.userdata.encoding": "base64"}


async def until(condition: Callable[[], Foreign], *, limit: float = 40, every: float = 0.1) -> Foreign:
    """Return the first true value of `condition()`; TimeoutError after `limit` seconds."""
    async with asyncio.timeout(limit):
        while not (value := await asyncio.to_thread(condition)):  # noqa: ASYNC110 - nobody would tell
            await asyncio.sleep(every)
        return value


async def ssh(lab: Lab, key: Path, address: str, *command: str, stdin: bytes | None = None) -> tuple[int, str]:
    """Run a command on a machine as user ops; return its status and what it printed."""
    options = ["-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10"]
    argv = lab.inside(["ssh", *options, "-o", "BatchMode=yes", "-i", key, f"ops@{address}", *command])
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate(stdin)
    return process.returncode or 0, output.decode(errors="replace")
