"""This file is the names under which pyVmomi's objects, which have no types, appear in our annotations."""

from typing import Any, TypeAlias

Reference: TypeAlias = Any
"""A managed object: an id, and methods that are calls to vCenter."""
Kind: TypeAlias = Any
"""A type of managed object, such as vim.VirtualMachine."""
Structure: TypeAlias = Any
"""A structure of the vSphere API, such as a clone specification."""
Fault: TypeAlias = Any
"""A fault of vCenter; an exception in Python."""
Method: TypeAlias = Any
"""What pyVmomi knows of a method or a property."""
