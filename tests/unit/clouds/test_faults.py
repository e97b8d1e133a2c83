"""This file is what vCenter's faults and a broken connection are told as."""

import asyncio

import aiohttp
import pytest
from pyVmomi import vim, vmodl

from gateway.clouds import port
from gateway.clouds.vsphere import faults, references, soap
from gateway.clouds.vsphere.references import ReferenceMangledError
from gateway.kit.errors import GatewayError, Remedy

MACHINE = vim.VirtualMachine("vm-41")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (vim.fault.InvalidLogin(), port.CloudSignInError),
        (vim.fault.NotAuthenticated(), port.CloudUnreachableError),
        (
            vim.fault.NoPermission(object=MACHINE, privilegeId="VirtualMachine.Inventory.Delete"),
            port.CloudPermissionError,
        ),
        (vmodl.fault.ManagedObjectNotFound(obj=MACHINE), port.MachineGoneError),
        (vmodl.fault.ManagedObjectNotFound(obj=vim.Datastore("datastore-1")), port.NotThereError),
        (vim.fault.DuplicateName(name="x", object=MACHINE), port.NameTakenError),
        (vim.fault.NoDiskSpace(datastore="ds"), port.CloudTaskError),
        (vmodl.RuntimeFault(), port.CloudTaskError),
    ],
)
def test_every_fault_is_told_as_one_of_the_ports_errors(fault: Exception, error: type[GatewayError]) -> None:
    assert type(faults.error_of(fault)) is error


def test_a_missing_privilege_is_named_with_its_object() -> None:
    fault = vim.fault.NoPermission(object=MACHINE, privilegeId="VirtualMachine.Inventory.Delete")
    error = faults.error_of(fault, subject="demo-cp-0 (VirtualMachine:vm-41)")
    assert "lacks VirtualMachine.Inventory.Delete on demo-cp-0 (VirtualMachine:vm-41)" in error.message
    assert error.remedy is Remedy.OPERATOR


def test_the_reason_of_a_failed_task_is_vcenters_own_sentence_cut_short() -> None:
    fault = vmodl.fault.InvalidArgument(invalidProperty="spec.memoryMB", msg="A specified parameter was not correct.")
    assert faults.reason(fault) == "A specified parameter was not correct. (InvalidArgument of spec.memoryMB)"
    assert len(faults.reason(vmodl.RuntimeFault(msg="x" * 10_000))) < 600


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (TimeoutError(), port.CloudUnreachableError, "in time"),
        (aiohttp.ServerDisconnectedError(), port.CloudUnreachableError, "broke"),
        (ConnectionResetError(), port.CloudUnreachableError, "broke"),
        (
            aiohttp.ServerFingerprintMismatch(b"\x01" * 32, b"\xab" * 32, "vc", 443),
            port.CloudCertificateError,
            "AB:AB",
        ),
    ],
)
def test_a_broken_connection_is_told_in_our_words(fault: Exception, error: type[GatewayError], words: str) -> None:
    told = soap.transport_error(fault, server="vc:443")
    assert type(told) is error
    assert words in told.message


def test_a_reference_comes_back_from_its_text() -> None:
    for one in (MACHINE, vim.Task("task-1"), vim.dvs.DistributedVirtualPortgroup("dvportgroup-9")):
        assert references.from_text(references.text_of(one), None) == one
    assert references.text_of(MACHINE) == "VirtualMachine:vm-41"


@pytest.mark.parametrize("text", ["", "VirtualMachine", "VirtualMachine:", "Nonsense:vm-1", ":vm-1", "fault:x"])
def test_a_mangled_reference_is_refused(text: str) -> None:
    with pytest.raises(ReferenceMangledError):
        references.from_text(text, None)


async def test_a_property_cannot_be_read_by_attribute() -> None:
    async with aiohttp.ClientSession() as http:
        machine = vim.VirtualMachine("vm-41", soap.Wire(http, "vc"))
        with pytest.raises(soap.LazyReadError):
            machine.name  # noqa: B018 - reading is what is refused
    await asyncio.sleep(0)
