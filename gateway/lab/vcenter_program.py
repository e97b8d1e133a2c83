"""This file is how the lab's vCenter is built: our Go sources, once, into the cache."""

from collections.abc import Callable
from pathlib import Path

from gateway.lab import cache, prerequisites, programs

BUILD_LIMIT = 1200.0


def prepare(cache_directory: Path, *, say: Callable[[str], None]) -> Path:
    """Return the vCenter program, building it first (two minutes when cold, network needed) when the cache has none."""
    sources = Path(__file__).parent / "vcenter"
    place = cache_directory / "vcenter" / cache.key_of(cache.tree_bytes(sources))

    def build(target: Path) -> None:
        go = prerequisites.go_program()
        say("building the lab's vCenter, once (up to two minutes)")
        programs.run(
            ["env", "CGO_ENABLED=0", go, "build", "-trimpath", "-ldflags=-s -w", "-o", target / "vcenter", "."],
            limit=BUILD_LIMIT,
            where=sources,
        )

    return cache.once(place, build) / "vcenter"
