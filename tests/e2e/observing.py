"""This file is what end-to-end tests look at, besides what the product says of itself."""

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.lab import site
from gateway.lab.site import Answer, Site


def write_cluster(place: Site, name: str, *, workers: int, **changes: str) -> str:
    """Write a cluster file and return its path; `changes` replaces text in it."""
    text = site.cluster_file(place.lab, name, workers=workers)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = place.directory / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def vms(place: Site, cluster: str) -> list[str]:
    """Return the names of a cluster's VMs as the hypervisor sees them, not as the product says."""
    return sorted(one.name for one in place.lab.machines() if one.name.startswith(f"{cluster}-"))


async def cluster(place: Site, name: str) -> dict[str, Any]:
    """Return a cluster as the API shows it."""
    found: dict[str, Any] = json.loads(await place.must("cluster", "show", name, "--output", "json"))
    return found


async def cluster_names(place: Site) -> list[str]:
    """Return the names of all clusters the console knows."""
    found = json.loads(await place.must("cluster", "list", "--output", "json"))
    return [one["name"] for one in found["items"]]


async def folders(place: Site) -> list[str]:
    """Return vCenter's VM folders."""
    command = ("gateway", "inventory", site.GATEWAY, "--account", site.ACCOUNT, "--output", "json")
    found: list[str] = json.loads(await place.must(*command))["folders"]
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """The events of the appliance as they are in the console's database."""

    numbers: list[int]
    bodies: list[dict[str, Any]]

    def steps(self, kind: str) -> list[str]:
        """Return the steps of which events of a kind tell."""
        return [body["step"] for body in self.bodies if body["type"] == kind]


def told(place: Site, name: str) -> Told:
    """Read the console's own rows: every event's number, and the bodies of those of one cluster."""
    numbers = _rows(place, "SELECT number FROM events WHERE number IS NOT NULL ORDER BY number")
    bodies = _rows(place, "SELECT body FROM events WHERE cluster_name = ? ORDER BY position", name)
    return Told([row[0] for row in numbers], [json.loads(row[0]) for row in bodies])


def _rows(place: Site, query: str, *values: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{place.directory}/console/console.sqlite?mode=ro", uri=True)) as database:
        return database.execute(query, values).fetchall()


async def removed(place: Site, name: str) -> None:
    """Delete a cluster and see that nothing of it is left anywhere."""
    await place.must("cluster", "delete", name, "--yes")
    assert vms(place, name) == []
    assert name not in await cluster_names(place)
    assert not [one for one in await folders(place) if name in one]


async def applying(place: Site, path: str) -> Answer:
    """Apply a cluster file, to its end."""
    async with asyncio.timeout(280):
        return await place.pcg("cluster", "apply", "-f", path)


def world_readable(directory: Path) -> list[Path]:
    """Return the files below a directory that others may read."""
    return [path for path in directory.rglob("*") if path.is_file() and path.stat().st_mode & 0o004]
