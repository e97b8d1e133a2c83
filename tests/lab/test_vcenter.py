"""This file is what a lab's vCenter promises: it knows its user, and it fails on demand."""

import gc
import time
import warnings
from collections.abc import Iterator
from http.client import HTTPException

import pytest
from pyVmomi import vim

from gateway.lab.faults import Outcome, Rule, RuleRefusedError
from gateway.lab.labs import Lab
from tests.lab.customer import Customer, TaskFailedError, customer

pytestmark = [pytest.mark.lab, pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")]


@pytest.fixture(autouse=True)
def sockets_pyvmomi_forgets() -> Iterator[None]:
    """Collect the connections that pyVmomi drops without closing them when a call fails."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def test_a_wrong_password_is_refused(lab: Lab) -> None:
    with pytest.raises(vim.fault.InvalidLogin):
        async with customer(lab, password="wrong"):
            pass


async def test_the_inventory_is_a_cluster_and_a_template_and_no_machine(lab: Lab, vcenter: Customer) -> None:
    names = {lab.datacenter, lab.cluster, lab.datastore, lab.network}
    assert {vcenter.find(name).name for name in names} == names
    template = vcenter.find(lab.template)
    assert template.config.template
    assert template.runtime.faultToleranceState == "notConfigured"
    assert template.summary.runtime.recordReplayState == "inactive"
    assert vcenter.machines() == []


async def test_a_call_is_refused_as_often_as_the_rule_says(lab: Lab, vcenter: Customer) -> None:
    rule = Rule(method="PowerOnVM_Task", object_name="faulty", fault="NoPermission", skip=1, count=1)
    vm = vcenter.clone("faulty", power_on=False)
    async with lab.faults.rule(rule):
        vcenter.done(vm.PowerOnVM_Task())
        with pytest.raises(vim.fault.NoPermission):
            vm.PowerOnVM_Task()
        with pytest.raises(TaskFailedError):  # the rule is used up: this is vCenter's own InvalidPowerState
            vcenter.done(vm.PowerOnVM_Task())
        [known] = await lab.faults.list()
        assert (known.seen, known.hits) == (2, 1)
    assert await lab.faults.list() == ()


async def test_a_task_fails_before_or_after_its_work(lab: Lab, vcenter: Customer) -> None:
    async with lab.faults.rule(Rule(method="CloneVM_Task", outcome=Outcome.TASK_FAULT, fault="NoDiskSpace")):
        with pytest.raises(TaskFailedError) as failed:
            vcenter.clone("never", power_on=False)
        assert isinstance(failed.value.args[0], vim.fault.NoDiskSpace)
        assert vcenter.machines() == []
    async with lab.faults.rule(Rule(method="CloneVM_Task", outcome=Outcome.TASK_FAULT_AFTER)):
        with pytest.raises(TaskFailedError):
            vcenter.clone("half", power_on=False)
        assert [vm.name for vm in vcenter.machines()] == ["half"]


async def test_tasks_take_longer_without_keeping_each_other_or_readers(lab: Lab, vcenter: Customer) -> None:
    template = vcenter.find(lab.template)
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=vcenter.find(lab.cluster).resourcePool))
    async with lab.faults.rule(Rule(method="CloneVM_Task", outcome=Outcome.TASK_DELAY, delay_ms=3000)):
        began = time.monotonic()
        tasks = [template.CloneVM_Task(template.parent, f"slow-{index}", spec) for index in range(3)]
        assert template.name == lab.template
        assert tasks[0].info.entity == template
        assert time.monotonic() - began < 2.5
        for task in tasks:
            vcenter.done(task)
        assert 3.0 <= time.monotonic() - began < 8.0


async def test_a_reply_is_lost_after_the_work_was_done(lab: Lab, vcenter: Customer) -> None:
    template = vcenter.find(lab.template)
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=vcenter.find(lab.cluster).resourcePool))
    async with lab.faults.rule(Rule(method="CloneVM_Task", outcome=Outcome.LOSE_REPLY, count=1)) as rule:
        with pytest.raises((ConnectionError, HTTPException)):
            template.CloneVM_Task(template.parent, "orphan", spec)
        assert rule.id > 0
    await vcenter.seen("orphan")


async def test_a_delayed_call_and_an_unavailable_vcenter(lab: Lab, vcenter: Customer) -> None:
    template = vcenter.find(lab.template)
    async with lab.faults.rule(Rule(method="CurrentTime", outcome=Outcome.DELAY, delay_ms=300)):
        began = time.monotonic()
        vcenter.service.CurrentTime()
        assert time.monotonic() - began >= 0.3
    async with lab.faults.rule(Rule(outcome=Outcome.UNAVAILABLE)):
        with pytest.raises(Exception, match="503"):
            vcenter.service.CurrentTime()
    async with lab.faults.rule(Rule(object_type="VirtualMachine", fault="NotAuthenticated", method="ReconfigVM_Task")):
        with pytest.raises(vim.fault.NotAuthenticated):
            template.ReconfigVM_Task(vim.vm.ConfigSpec())


async def test_a_rule_that_makes_no_sense_is_refused(lab: Lab) -> None:
    with pytest.raises(RuleRefusedError, match="NoSuchFault"):
        await lab.faults.add(Rule(fault="NoSuchFault"))
    assert "NoPermission" in await lab.faults.kinds()
