"""This file is how a secret is taken in: from a file or from standard input, never from the command line; and wiped."""

import errno
import getpass
import os
import stat
import sys
from pathlib import Path

from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

LIMIT = 64 * 1024


class SecretUnreadableError(GatewayError):
    """A secret cannot be read."""

    code = "secret.unreadable"
    remedy = Remedy.CALLER


def read(path: Path) -> str:
    """Return the secret in a file, or on standard input when `path` is "-", without the line's end.

    Raises SecretUnreadableError when it cannot be read, is empty, is too long or is no text.
    """
    name = "standard input" if str(path) == "-" else str(path)
    try:
        content = _standard_input() if str(path) == "-" else _beginning(path)
        text = content.decode().rstrip("\r\n")
    except OSError as fault:
        raise SecretUnreadableError(f"cannot read {name}: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise SecretUnreadableError(f"{name} is no text in UTF-8") from fault
    if not text.strip():
        raise SecretUnreadableError(f"{name} is empty")
    if len(content) > LIMIT:
        raise SecretUnreadableError(f"{name} is too long to be a secret")
    return text


def close_to_others(path: Path) -> bool:
    """Take the group's and others' rights to the file of a secret away; tell whether there were any.

    What is no file of ours (a pipe, standard input, a link to another's) is left alone: its owner's choice is not ours.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        is_open = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and bool(found.st_mode & 0o077)
        if is_open:
            os.fchmod(descriptor, files.PRIVATE_FILE)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return is_open


def wipe(path: Path) -> None:
    """Overwrite the file of a used secret and remove it; of a link only the link goes, what it leads to is left alone.

    Raises OSError. What a disk or a file system has kept of it elsewhere cannot be reached from here.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as fault:
        if fault.errno == errno.ENOENT:
            return
        descriptor = None  # a link, or not ours to write
    if descriptor is not None:
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                os.write(descriptor, bytes(min(found.st_size, LIMIT)))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    path.unlink(missing_ok=True)


def _standard_input() -> bytes:
    """Return what is piped in; a person at a terminal is asked, and what they type is not shown."""
    if sys.stdin is None:
        return b""
    if sys.stdin.isatty():
        return getpass.getpass("secret: ").encode()
    return sys.stdin.buffer.read(LIMIT + 1)


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LIMIT + 1)
