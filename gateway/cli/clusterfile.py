"""This file is the cluster file: YAML read strictly, with the line of everything that is wrong."""

from pathlib import Path

from gateway.contract import documents
from gateway.contract.clusters import ClusterSpec
from gateway.contract.documents import DocumentError, Kind
from gateway.kit.errors import GatewayError, Remedy

SIZE_LIMIT = 1024 * 1024
KIND = Kind("cluster file", "docs/clusters.md")


class ClusterFileError(GatewayError):
    """The cluster file cannot be used."""

    code = "clusterfile.invalid"
    remedy = Remedy.CALLER

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n  ".join(lines))


class ClusterFileUnreadableError(GatewayError):
    """The cluster file cannot be read."""

    code = "clusterfile.unreadable"
    remedy = Remedy.CALLER


def read(path: Path) -> ClusterSpec:
    """Read a cluster file. Raises ClusterFileError, whose message names file, line and column of each fault."""
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as fault:
        raise ClusterFileUnreadableError(f"cannot read the cluster file {path}: {fault.strerror}") from fault
    if len(content) > SIZE_LIMIT:
        raise ClusterFileError(f"{path}: the file is over {SIZE_LIMIT // 1024} KiB: is it a cluster file?")
    return parse(content, name=str(path))


def parse(content: bytes, *, name: str) -> ClusterSpec:
    """Parse the content of a cluster file; `name` is how messages call it. Raises ClusterFileError."""
    try:
        return documents.parse(content, ClusterSpec, name=name, kind=KIND)
    except DocumentError as fault:
        raise ClusterFileError(*fault.lines) from fault
