"""This file is how costly things are made once: keyed by their recipe, built under a lock, renamed when whole."""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def key_of(*parts: bytes) -> str:
    """Return the key of a recipe: 16 hex digits that change when any part does."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]


def tree_bytes(root: Path) -> bytes:
    """Return names, modes and contents of all files under `root`, in order: a recipe's part."""
    found = bytearray()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = path.read_bytes()
            found += f"{path.relative_to(root)} {path.stat().st_mode & 0o111:o} {len(content)}\n".encode() + content
    return bytes(found)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on file `path`, waiting for whoever holds it; the kernel frees it on any end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def once(place: Path, build: Callable[[Path], None]) -> Path:
    """Return directory `place`, calling `build(empty directory)` first when it is not there yet.

    Two processes at once build once. What a crash left half done is removed by the next builder.
    """
    if place.is_dir():
        return place
    with locked(place.parent / f".{place.name}.lock"):
        if place.is_dir():
            return place
        for left in place.parent.glob(f".{place.name}.building-*"):
            shutil.rmtree(left)
        building = Path(tempfile.mkdtemp(prefix=f".{place.name}.building-", dir=place.parent))
        building.chmod(0o755)
        try:
            build(building)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        building.rename(place)
    return place
