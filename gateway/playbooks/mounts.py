"""This file is how the runner closes the door behind itself: a read-only world with one private tmpfs in it.

Called only by the first process of fresh mount and process namespaces. Mounts made here are seen by nobody
else and end with the last process of the namespace, so nothing written there touches a disk or outlives a run.
"""

import ctypes
import os
from pathlib import Path

from gateway.kit.errors import GatewayError, Remedy

PRIVATE = Path("/dev/shm")  # noqa: S108 - covered by a tmpfs of our own before anything is written there
"""Where the private tmpfs goes: a directory every Linux has and nobody keeps anything in; short, for sockets."""

SIZE = "256m"

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND = 2, 4, 8, 4096
_MOUNT_SETATTR = 442  # the same number on every architecture; Linux 5.12
_AT_FDCWD, _AT_RECURSIVE, _RDONLY = -100, 0x8000, 1


class MountError(GatewayError):
    """The kernel refuses a mount that a run of Ansible needs."""

    code = "playbook.mount"
    remedy = Remedy.OPERATOR


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def close_the_door(*, writable: Path) -> Path:
    """Make everything read-only but the file `writable`, and return an empty private directory.

    Raises MountError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _mount(libc, os.fsencode(writable), os.fsencode(writable), flags=_MS_BIND)
    _set_read_only(libc, Path("/"), _MountAttributes(set=_RDONLY), flags=_AT_RECURSIVE)
    _set_read_only(libc, writable, _MountAttributes(clear=_RDONLY), flags=0)
    options = f"size={SIZE},mode=0700".encode()
    _mount(
        libc, b"tmpfs", os.fsencode(PRIVATE), kind=b"tmpfs", flags=_MS_NOSUID | _MS_NODEV | _MS_NOEXEC, options=options
    )
    return PRIVATE


def _mount(
    libc: ctypes.CDLL, source: bytes, target: bytes, *, kind: bytes = b"", flags: int, options: bytes = b""
) -> None:
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), options):
        raise MountError(f"mounting on {os.fsdecode(target)} failed: {os.strerror(ctypes.get_errno())}")


def _set_read_only(libc: ctypes.CDLL, path: Path, wish: _MountAttributes, *, flags: int) -> None:
    if libc.syscall(
        _MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), flags, ctypes.byref(wish), ctypes.c_size_t(ctypes.sizeof(wish))
    ):
        raise MountError(f"changing the mount {path} failed: {os.strerror(ctypes.get_errno())} (Linux 5.12 is needed)")
