"""This file is how vCenter's managed object references become text and come back.

The text is the type's name below `vim` and the object's id, such as `VirtualMachine:vm-41` or
`dvs.DistributedVirtualPortgroup:dvportgroup-9`. vCenter never gives an id to a second object.
"""

from typing import Any

from pyVmomi import vim

from gateway.clouds.vsphere.foreign import Reference
from gateway.kit.errors import GatewayError

PREFIX = "vim."


class ReferenceMangledError(GatewayError):
    """A stored reference to a vCenter object cannot be read."""

    code = "vsphere.reference_mangled"


def text_of(reference: Reference) -> str:
    """Return a managed object's reference as text."""
    return str(reference).strip("'").removeprefix(PREFIX)


def from_text(text: str, stub: object) -> Reference:
    """Return the managed object a text refers to, ready for calls over `stub`. Raises ReferenceMangledError."""
    kind, _, moid = text.partition(":")
    found: Any = vim
    for part in kind.split("."):
        found = getattr(found, part, None)
    if not moid or not isinstance(found, type):
        raise ReferenceMangledError(f"{text[:80]!r} is not a reference to a vCenter object")
    return found(moid, stub)
