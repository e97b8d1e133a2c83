"""This file is what is told of a machine whose configuration vCenter cannot reach: its datastore or host is lost."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from pyVmomi import vim, vmodl

from gateway.clouds.port import MachineInaccessibleError, MachineWish, Owner, Placement
from gateway.clouds.vsphere import cloning, machines, references
from gateway.clouds.vsphere.foreign import Method, Reference, Structure
from gateway.contract.clusters import CloudPlacement, PoolRole
from gateway.kit.errors import Remedy

OWNER = Owner(cluster=UUID(int=7), cluster_name="demo", pool="cp", role=PoolRole.CONTROL_PLANE, ordinal=0)
WISH = MachineWish(OWNER, UUID(int=1), cpus=2, memory_mib=2048, guest_metadata="{mac}", guest_userdata="")
MACHINE, TEMPLATE = vim.VirtualMachine("vm-41"), vim.VirtualMachine("vm-1")
FOLDER, DATACENTER = vim.Folder("group-v1"), vim.Datacenter("datacenter-1")
PLACEMENT = Placement(
    wish=CloudPlacement(account="lab", template="debian-12"),
    ids={
        "datacenter": references.text_of(DATACENTER),
        "folder": references.text_of(FOLDER),
        "template": references.text_of(TEMPLATE),
        "datastore": "Datastore:datastore-1",
        "resource_pool": "ResourcePool:resgroup-1",
    },
)
THERE = {
    MACHINE: {"name": "demo-cp-0", "runtime.powerState": "poweredOff"},
    TEMPLATE: {"name": "debian-12", "config.hardware.device": [vim.vm.device.VirtualVmxnet3(key=4000)]},
    vim.TaskManager("TaskManager"): {"recentTask": []},
}


class SmallVCenter:
    """Answers the few calls of a clone from a table; it is pyVmomi's stub, and the adapter's Connection to it."""

    sessions, sign_in_again, watch = 1, None, None

    def __init__(self, *, found: Reference) -> None:
        self._found = found
        self.wire = self
        self.collector = vmodl.query.PropertyCollector("propertyCollector", self)
        self.content = vim.ServiceInstanceContent(
            searchIndex=vim.SearchIndex("SearchIndex", self), taskManager=vim.TaskManager("TaskManager", self)
        )

    async def InvokeMethod(self, _mo: Reference, info: Method, args: Structure) -> Structure:  # noqa: N802 - pyVmomi's name
        match info.wsdlName:
            case "FindByUuid":
                return self._found
            case "CreateFolder":
                return vim.Folder("group-v2", self)
            case "CloneVM_Task":
                raise vim.fault.DuplicateName(name="demo-cp-0", object=MACHINE)
            case "RetrievePropertiesEx":
                return self._properties(args[0][0])
        raise AssertionError(info.wsdlName)

    def _properties(self, request: Structure) -> Structure:
        asked = {start.obj for start in request.objectSet}
        objects = [
            SimpleNamespace(
                obj=one,
                propSet=[
                    SimpleNamespace(name=path, val=seen[path]) for path in request.propSet[0].pathSet if path in seen
                ],
                missingSet=[],
            )
            for one, seen in THERE.items()
            if one in asked
        ]
        return SimpleNamespace(objects=objects, token=None)


async def forget(_task: str) -> None:
    """Take note of nothing."""


@pytest.mark.parametrize("found", [MACHINE, None], ids=["by its instance UUID", "by its name only"])
async def test_a_machine_without_configuration_is_told_with_the_way_out(found: Reference) -> None:
    vcenter: Any = SmallVCenter(found=found)
    with pytest.raises(MachineInaccessibleError, match="demo-cp-0 is inaccessible in vCenter: bring its") as caught:
        await cloning.clone(vcenter, WISH, PLACEMENT, note=forget, noted=None)
    assert (caught.value.facts, caught.value.remedy) == ({"machine": "demo-cp-0"}, Remedy.OPERATOR)


def test_a_machine_without_configuration_is_nobodys() -> None:
    assert machines.described(MACHINE, THERE[MACHINE]) is None
