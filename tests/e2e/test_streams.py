"""This file is streams to targets on real parts: a user outside, and a host inside."""

import asyncio
import hashlib
import json
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.lab import site
from gateway.lab.site import Site
from tests.e2e import neighbour
from tests.fakes.forward import Forward

CONTENT = secrets.token_bytes(16 * 1024 * 1024)


async def offered(place: Site, name: str, host: str, port: int, *options: str) -> None:
    """Make a target and wait until the console knows it and can reach it."""
    state = ("--state", str(place.appliance_state))
    await place.must("appliance", "target", "add", name, host, str(port), *options, *state)
    async with asyncio.timeout(60):
        while True:
            found = json.loads(await place.must("tunnel", "targets", site.GATEWAY, "--output", "json"))
            if found["reachable"] and name in {one["name"] for one in found["items"]}:
                return
            await asyncio.sleep(0.5)


@asynccontextmanager
async def forwarding(place: Site, target: str) -> AsyncIterator[Forward]:
    """Run `pcg tunnel forward` as the user outside."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "tunnel", "forward", site.GATEWAY, target, "--output", "json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=place.environment,
    )
    forward = Forward(process)
    try:
        forward.port = (await forward.event("listening"))["port"]
        yield forward
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def at_the_console(place: Site, target: str) -> list[dict[str, Any]]:
    """Return what the console's log tells of a target, the oldest entry first."""
    found = json.loads(await place.must("audit", "list", "--gateway", site.GATEWAY, "--output", "json"))
    return [one for one in reversed(found["items"]) if one["target"] == target]


async def at_the_appliance(place: Site, target: str) -> list[dict[str, Any]]:
    """Return what the appliance's log tells of a target, the oldest entry first, once its chain is found whole."""
    state = ("--state", str(place.appliance_state))
    found = json.loads(await place.must("appliance", "audit", "--verify", "--last", "0", "--output", "json", *state))
    return [one for one in found["entries"] if one["facts"].get("target") == target]


async def test_sixteen_mebibytes_reach_a_host_inside_and_come_back_byte_for_byte(place: Site, tmp_path: Path) -> None:
    async with neighbour.neighbour(place.lab, tmp_path / "heard") as host:
        await offered(place, "echo", host, neighbour.ECHO)
        async with forwarding(place, "echo") as forward:
            backs = [await forward.through(CONTENT) for _ in range(2)]
            closed = [await forward.event("closed") for _ in range(2)]
            code, out, err = await forward.ends()

    assert [hashlib.sha256(back).digest() for back in backs] == [hashlib.sha256(CONTENT).digest()] * 2
    assert [(one["sent"], one["received"], one["fault"]) for one in closed] == [(len(CONTENT), len(CONTENT), None)] * 2
    assert (json.loads(out.splitlines()[-1])["connections"], code, err) == (2, 0, "")
    ours, theirs = await at_the_console(place, "echo"), await at_the_appliance(place, "echo")
    assert [one["outcome"] for one in ours] == ["began", "ended"] * 2
    assert [one["action"] for one in theirs] == [
        "target.added",
        *["stream.opening", "stream.opened", "stream.closed"] * 2,
    ]
    told = [one["facts"]["trace"] for one in theirs[1:] if one["action"] != "stream.opened"]
    assert [one["facts"]["trace"] for one in ours] == told
    assert ours[-1]["facts"]["sent"] == theirs[-1]["facts"]["received"] == len(CONTENT)


async def test_a_host_that_hangs_up_first_still_hears_the_rest(place: Site, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    async with neighbour.neighbour(place.lab, heard) as host:
        await offered(place, "greeter", host, neighbour.GREETER)
        async with forwarding(place, "greeter") as forward, forward.connected() as (reader, writer):
            assert await reader.read() == neighbour.GREETING
            writer.write(CONTENT[:100_000])
            writer.write_eof()
            closed = await forward.event("closed")

    assert await asyncio.to_thread(heard.read_bytes) == CONTENT[:100_000]
    assert closed["fault"] is None


@pytest.mark.attack(10)
async def test_the_appliance_itself_is_no_target_whatever_the_console_is_told(place: Site, tmp_path: Path) -> None:
    """In a lab vCenter's address is on the appliance's own machine, which no stream may reach."""
    async with neighbour.neighbour(place.lab, tmp_path / "heard") as host:
        await offered(place, "other", host, neighbour.ECHO)
        await offered(place, "self", place.lab.vcenter_host, 443)
        async with (
            forwarding(place, "other") as other,
            forwarding(place, "self") as forward,
            other.connected() as (reader, writer),
        ):
            assert await forward.through(b"") == b""
            refused = await forward.event("refused")
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"

    assert refused["code"] == "stream.address_refused"
    began, ended = await at_the_console(place, "self")
    assert (began["outcome"], ended["outcome"], ended["facts"]["code"]) == ("began", "refused", refused["code"])
    assert [one["action"] for one in await at_the_appliance(place, "self")] == ["target.added", "stream.refused"]


async def test_a_removed_target_is_cut_and_known_no_more(place: Site, tmp_path: Path) -> None:
    async with neighbour.neighbour(place.lab, tmp_path / "heard") as host:
        await offered(place, "passing", host, neighbour.ECHO)
        async with forwarding(place, "passing") as forward, forward.connected() as (reader, writer):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await place.must("appliance", "target", "remove", "passing", "--state", str(place.appliance_state))
            closed = await forward.event("closed")

    assert closed["fault"]
    answer = await place.pcg("tunnel", "forward", site.GATEWAY, "passing")
    assert (answer.code, "[target.unknown]" in answer.err) == (2, True)
