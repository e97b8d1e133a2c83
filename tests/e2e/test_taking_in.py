"""This file is the first minute with real programs: from token to connected gateway, and pairing anew while it runs."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.kit import files
from gateway.lab.site import GATEWAY, Program, Site

GOAL = 10.0
"""Seconds from `pcg token create` to connected."""


def appliance_with(place: Site, name: str) -> tuple[Program, Path]:
    """Return an appliance of its own in the data centre, and the file in which it expects its token."""
    state, token = place.directory / name, place.directory / f"{name}.token"
    argv = [sys.executable, "-m", "gateway.cli", "appliance", "run", "--state", str(state)]
    more = ["--artifacts", str(place.lab.artifacts), "--token-file", str(token)]
    program = Program(
        argv=place.lab.inside([*argv, *more]),
        log=place.directory / f"{name}.log",
        ready="appliance ready",
        environment=place.environment,
    )
    return program, token


@asynccontextmanager
async def leaving_none(place: Site, program: Program, name: str) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await program.stop()
        await place.must("gateway", "remove", name, "--yes")


async def shown(place: Site, name: str) -> dict[str, str]:
    items = json.loads(await place.must("gateway", "list", "--output", "json"))["items"]
    return next((one for one in items if one["name"] == name), {})


async def until_connected(place: Site, name: str, *, since: str | None = None) -> None:
    """Wait until the console sees it connected, by another connection than that of `since`."""
    async with asyncio.timeout(60):
        while True:
            one = await shown(place, name)
            if one.get("status") == "connected" and one["connected_since"] != since:
                return
            await asyncio.sleep(0.1)


async def test_from_the_token_to_connected_takes_less_than_ten_seconds(place: Site) -> None:
    program, path = appliance_with(place, "measured")
    begun = time.monotonic()
    token = await place.must("token", "create", "measured")
    await asyncio.to_thread(files.write_whole, path, token.encode())
    made = time.monotonic() - begun
    async with leaving_none(place, program, "measured"):
        await program.start()
        ready = time.monotonic() - begun
        await until_connected(place, "measured")
        took = time.monotonic() - begun
    print(f"token {made:.1f} s, appliance paired {ready:.1f} s, seen connected {took:.1f} s")  # noqa: T201
    assert took < GOAL
    assert not path.exists()


@pytest.mark.attack(7)
async def test_a_gateway_is_paired_anew_while_its_appliance_runs(place: Site) -> None:
    before = await shown(place, GATEWAY)
    token = await place.must("gateway", "repair-token", GATEWAY)
    state = str(place.appliance_state)
    await place.must("appliance", "pair", "--token-file", "-", "--state", state, stdin=token, inside=True)
    await until_connected(place, GATEWAY, since=before["connected_since"])
    after = await shown(place, GATEWAY)
    assert after["id"] == before["id"]
    assert after["fingerprint"] != before["fingerprint"]
