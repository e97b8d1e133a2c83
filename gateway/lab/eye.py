"""This file is the hypervisor's view of vCenter: which VMs there are, and what their guests report.

It speaks to vCenter with pyVmomi itself and not through the product's adapter: an eye that shares the
product's misreadings would not see them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

Foreign: TypeAlias = Any
"""pyVmomi has no types."""

POWERED_ON = "poweredOn"
SEEN = ("name", "config.template", "runtime.powerState", "summary.runtime.bootTime")


@dataclass(frozen=True, slots=True)
class SeenVm:
    """What is looked at all the time."""

    moid: str
    name: str
    on: bool
    boot: datetime | None
    """When it was powered on: another time means another boot."""


@dataclass(frozen=True, slots=True)
class VmHardware:
    """What a boot needs to know."""

    uuid: str
    macs: tuple[str, ...]
    extra_config: Mapping[str, str] = field(repr=False)


class Eye:
    """One session with vCenter. All methods block; the hypervisor calls them in threads."""

    def __init__(self, service: Foreign) -> None:
        self._content = service.RetrieveContent()
        self._stub = service._stub  # noqa: SLF001 - pyVmomi has no public name for it
        view = self._content.viewManager.CreateContainerView(
            self._content.rootFolder, [vim.VirtualMachine], recursive=True
        )
        query = vmodl.query.PropertyCollector
        over = query.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
        self._everything = query.FilterSpec(
            objectSet=[query.ObjectSpec(obj=view, skip=True, selectSet=[over])],
            propSet=[query.PropertySpec(type=vim.VirtualMachine, pathSet=list(SEEN))],
        )

    def look(self) -> list[SeenVm]:
        """Return all VMs that are not templates, in one call."""
        found = [(entry.obj, {prop.name: prop.val for prop in entry.propSet}) for entry in self._read(self._everything)]
        return [
            SeenVm(
                moid=vm._moId,  # noqa: SLF001 - the only name pyVmomi has for it
                name=properties.get("name", ""),
                on=properties.get("runtime.powerState") == POWERED_ON,
                boot=properties.get("summary.runtime.bootTime"),
            )
            for vm, properties in found
            if not properties.get("config.template", False)
        ]

    def hardware(self, moid: str) -> VmHardware:
        """Return what the VM is made of. vmodl.fault.ManagedObjectNotFound when it is gone."""
        query = vmodl.query.PropertyCollector
        wanted = ["config.uuid", "config.hardware.device", "config.extraConfig"]
        spec = query.FilterSpec(
            objectSet=[query.ObjectSpec(obj=self._vm(moid))],
            propSet=[query.PropertySpec(type=vim.VirtualMachine, pathSet=wanted)],
        )
        properties = {prop.name: prop.val for entry in self._read(spec) for prop in entry.propSet}
        nics = [
            one for one in properties["config.hardware.device"] if isinstance(one, vim.vm.device.VirtualEthernetCard)
        ]
        return VmHardware(
            uuid=properties["config.uuid"],
            macs=tuple(nic.macAddress for nic in nics if nic.macAddress),
            extra_config={one.key: str(one.value) for one in properties.get("config.extraConfig", [])},
        )

    def report(self, moid: str, guest: Mapping[str, str]) -> None:
        """Set guest properties (`ipAddress`, `hostName`, `toolsRunningStatus`), as VMware Tools would."""
        options = [vim.option.OptionValue(key=f"SET.guest.{key}", value=value) for key, value in guest.items()]
        self._vm(moid).ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=options))

    def power_off(self, moid: str) -> None:
        """Tell vCenter that the guest has switched itself off."""
        self._vm(moid).PowerOffVM_Task()

    def _vm(self, moid: str) -> Foreign:
        return vim.VirtualMachine(moid, self._stub)

    def _read(self, spec: Foreign) -> list[Foreign]:
        collector = self._content.propertyCollector
        options = vmodl.query.PropertyCollector.RetrieveOptions()
        answer = collector.RetrievePropertiesEx([spec], options)
        found: list[Foreign] = []
        while answer is not None:
            found += answer.objects
            answer = collector.ContinueRetrievePropertiesEx(answer.token) if answer.token else None
        return found


@contextmanager
def opened(address: str, user: str, password: str) -> Iterator[Eye]:
    """Log in at plain-http `address` ("host:port"), and out at the end."""
    host, _, port = address.rpartition(":")
    service = SmartConnect(protocol="http", host=host, port=int(port), user=user, pwd=password)
    try:
        yield Eye(service)
    finally:
        Disconnect(service)
        service._stub.DropConnections()  # noqa: SLF001 - or its sockets stay open until garbage is collected


Gone = vmodl.fault.ManagedObjectNotFound
"""What the eye raises about a VM that is no longer there."""
