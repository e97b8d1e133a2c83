"""This file is how files are written: whole or not at all, and private if secret."""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.kit.errors import GatewayError, Remedy

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


class DirectoryNotPrivateError(GatewayError):
    """A directory that must be ours alone is open to others or is not a directory."""

    code = "files.not_private"
    remedy = Remedy.OPERATOR


class FileNotPrivateError(GatewayError):
    """A file that must be ours alone is open to others, or is a link."""

    code = "files.not_private_file"
    remedy = Remedy.OPERATOR


class AlreadyRunningError(GatewayError):
    """Another process already works in this directory."""

    code = "files.already_running"
    remedy = Remedy.OPERATOR


def make_private_directory(path: Path) -> Path:
    """Create `path` with mode 0700 (missing parents too), or check that it is ours alone.

    Raises DirectoryNotPrivateError when it exists and group or others may enter, when it is a link or no directory,
    or when it cannot be made.
    """
    try:
        for missing in reversed([one for one in (path, *path.parents) if not one.exists()]):
            missing.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        found = path.lstat()
    except OSError as fault:
        raise DirectoryNotPrivateError(f"{path} cannot be made: {fault.strerror}", path=str(path)) from fault
    if not path.is_dir():
        raise DirectoryNotPrivateError(f"{path} is no directory: choose another", path=str(path))
    if path.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise DirectoryNotPrivateError(
            f"{path} must belong to you and be closed to others: chown it to yourself and chmod 0700",
            path=str(path),
        )
    return path


def write_whole(path: Path, content: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Replace `path` by `content` at once: readers and crashes see the old file or the new one.

    The new file and its directory are flushed to disk before this returns. OSError travels upwards, and names `path`.
    """
    try:
        _write_whole(path, content, mode)
    except OSError as fault:
        # A write that fails for want of room names no file by itself.
        fault.filename = str(path)
        raise


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    flush_directory(path.parent)


def read_private(path: Path) -> bytes:
    """Return what is in a file that must be ours alone. A link is not followed.

    Raises FileNotPrivateError when it is a link, no file, another's or open to others; OSError travels upwards.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as fault:
        if fault.errno == errno.ELOOP:
            raise FileNotPrivateError(f"{path} is a link: put the file itself there", path=str(path)) from fault
        raise
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise FileNotPrivateError(
                f"{path} must be a file of yours that is closed to others: chown it to yourself and chmod 0600",
                path=str(path),
            )
        return file.read()


def flush_directory(path: Path) -> None:
    """Flush the names in a directory to disk, so that a rename or an unlink survives a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the directory for this process; the kernel lets go of it however the process ends.

    Raises AlreadyRunningError at once when another process holds it.
    """
    with os.fdopen(os.open(directory / "lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise AlreadyRunningError(
                f"another process already works in {directory}: stop it first", directory=str(directory)
            ) from fault
        yield
