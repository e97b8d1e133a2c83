"""This file is the search for secrets: in no log, event, error, process list or file that others may read."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from gateway.identity import tokens
from gateway.lab.site import Site
from tests.e2e import observing

PRIVATE = re.compile(rb"PRIVATE KEY-----\s*([A-Za-z0-9+/=\s]{60,}?)-----END")


def secrets_of(place: Site, token: str) -> dict[str, bytes]:
    """Return every secret there is, by what it is."""
    found = {
        "the registration token": token.strip().encode(),
        "its seed": tokens.parse(token).seed,
        "its seed, in hexadecimal": tokens.parse(token).seed.hex().encode(),
        "the API key": (place.directory / "console" / "admin.key").read_bytes().strip(),
        "the vCenter password": place.lab.password.encode(),
    }
    kept = json.loads((place.appliance_state / "sealed" / "keys.json").read_bytes())
    found["the key that opens sealed accounts"] = kept["current"]["private"].encode()[20:60]
    for path in place.directory.rglob("*key*"):
        match = PRIVATE.search(path.read_bytes()) if path.is_file() else None
        if match:
            found[str(path)] = b"".join(match.group(1).split())[20:60]
    assert len(found) > 7
    return found


def places_where_none_may_be(place: Site) -> list[Path]:
    """Return the logs, the databases, and what others may read."""
    databases = [*place.directory.rglob("*.sqlite*"), *place.directory.rglob("journal.db*")]
    return [*place.directory.glob("*.log"), *databases, *observing.world_readable(place.directory)]


@pytest.mark.attack(28)
async def test_two_clusters_come_up_at_once_and_no_secret_is_where_it_need_not_be(place: Site) -> None:
    token = await place.must("token", "create", "searched")
    paths = [observing.write_cluster(place, name, workers=0) for name in ("searched", "seen")]
    lists: list[bytes] = []
    async with asyncio.TaskGroup() as group:
        applying = [group.create_task(observing.applying(place, path)) for path in paths]
        while not all(task.done() for task in applying):
            lists.append(await asyncio.to_thread(process_list))
            await asyncio.sleep(0.3)
    answers = [task.result() for task in applying]
    assert [answer.code for answer in answers] == [0, 0], answers
    said = "".join(answer.out + answer.err for answer in answers).encode()
    for what, secret in secrets_of(place, token).items():
        for text in (*lists, said):
            assert secret not in text, f"{what} is in a process list or was said"
        for file in places_where_none_may_be(place):
            assert secret not in file.read_bytes().replace(b"\n", b""), f"{what} is in {file}"
    for name in ("searched", "seen"):
        await observing.removed(place, name)


@pytest.mark.attack(33)
async def test_what_is_private_is_closed_to_others(place: Site) -> None:
    for state in (place.directory / "console", place.appliance_state, place.directory / "user"):
        assert state.stat().st_mode & 0o777 == 0o700
        for path in state.rglob("*"):
            public = path.suffix == ".pem"
            assert public or path.stat().st_mode & 0o077 == 0, path


def process_list() -> bytes:
    """Return every process's arguments and environment."""
    parts = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                parts.append((process / name).read_bytes())
            except OSError:
                continue
    return b"\n".join(parts)
