"""This file is what vCenter's faults mean to us; every public call of the adapter passes through `translated`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pyVmomi import vim, vmodl

from gateway.clouds.port import (
    CloudPermissionError,
    CloudSignInError,
    CloudTaskError,
    CloudUnreachableError,
    MachineGoneError,
    NameTakenError,
    NotThereError,
)
from gateway.clouds.vsphere import reading, references
from gateway.clouds.vsphere.foreign import Fault, Reference
from gateway.kit.errors import GatewayError

LONGEST_REASON = 500


@asynccontextmanager
async def translated(collector: Reference) -> AsyncIterator[None]:
    """Turn vCenter's faults raised in the body into errors of gateway.clouds.port."""
    try:
        yield
    except vmodl.MethodFault as fault:
        subject = await _name_of(collector, getattr(fault, "object", None) or getattr(fault, "obj", None))
        raise error_of(fault, subject=subject) from fault


def error_of(fault: Fault, *, subject: str | None = None) -> GatewayError:
    """Return our error for a fault of vCenter; `subject` names the object it is about, where there is one."""
    match fault:
        case vim.fault.InvalidLogin():
            return CloudSignInError(
                "vCenter refuses the user or the password: store the account again with the right ones"
            )
        case vim.fault.NotAuthenticated():
            return CloudUnreachableError("vCenter ended the session twice in a row")
        case vim.fault.NoPermission():
            return _permission_error(fault, subject=subject)
        case vmodl.fault.ManagedObjectNotFound():
            return _gone_error(fault, subject=subject)
        case vim.fault.DuplicateName():
            return NameTakenError(f"vCenter already has something named {fault.name!r} there", name=fault.name)
        case _:
            return CloudTaskError(f"vCenter could not do it: {reason(fault)}", fault=kind(fault))


def kind(fault: Fault) -> str:
    """Return a fault's name, such as NoDiskSpace."""
    return type(fault).__name__.rpartition(".")[2]


def reason(fault: Fault) -> str:
    """Return why vCenter says something failed: its sentence with the details, and the fault's name."""
    details = [message.message for message in getattr(fault, "faultMessage", None) or [] if message.message]
    text = " ".join(piece.strip() for piece in [getattr(fault, "msg", None) or "", *details] if piece.strip())
    where = getattr(fault, "invalidProperty", None)
    known = f"{kind(fault)} of {where}" if where else kind(fault)
    return f"{text[:LONGEST_REASON]} ({known})" if text else known


def _permission_error(fault: Fault, *, subject: str | None) -> GatewayError:
    privileges = [fault.privilegeId] if getattr(fault, "privilegeId", None) else []
    for lacking in getattr(fault, "missingPrivileges", None) or []:
        privileges += [one for one in lacking.privilegeIds if one not in privileges]
    wanted = ", ".join(privileges) or "a privilege"
    return CloudPermissionError(
        f"the account lacks {wanted} on {subject or 'an object'}: give its role that privilege there",
        privilege=wanted,
        object=subject,
    )


def _gone_error(fault: Fault, *, subject: str | None) -> GatewayError:
    gone = references.text_of(fault.obj) if fault.obj is not None else "an object"
    if isinstance(fault.obj, vim.VirtualMachine):
        return MachineGoneError(f"{subject or gone} was removed from vCenter by somebody else", object=gone)
    return NotThereError(f"{subject or gone} is no longer in vCenter", object=gone)


async def _name_of(collector: Reference, subject: Reference) -> str | None:
    """Return an object's name for people, its reference where the name cannot be had, None where there is no object."""
    if not isinstance(subject, vim.ManagedEntity):
        return references.text_of(subject) if subject is not None else None
    try:
        found = await reading.of(collector, [subject], ["name"])
    except (GatewayError, vmodl.MethodFault):
        return references.text_of(subject)
    name = found.get(subject, {}).get("name")
    return f"{name} ({references.text_of(subject)})" if name else references.text_of(subject)
