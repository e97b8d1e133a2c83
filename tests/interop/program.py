"""This file is how the foreign peer is built: our Go sources on hashicorp/yamux, once, into the machine's cache."""

from pathlib import Path

from gateway.lab import cache, prerequisites, programs
from gateway.lab.settings import LabSettings

SOURCES = Path(__file__).parent / "peer"
BUILD_LIMIT = 600.0


def prepare() -> Path:
    """Return the program, building it first (a minute when cold, network needed) when the cache has none.

    Raises PrerequisiteMissingError when this machine has no Go.
    """
    place = LabSettings().cache / "interop-peer" / cache.key_of(cache.tree_bytes(SOURCES))
    if place.is_dir():
        return place / "peer"
    go = prerequisites.go_program()

    def build(target: Path) -> None:
        programs.run(
            ["env", "CGO_ENABLED=0", go, "build", "-trimpath", "-ldflags=-s -w", "-o", target / "peer", "."],
            limit=BUILD_LIMIT,
            where=SOURCES,
        )

    return cache.once(place, build) / "peer"
