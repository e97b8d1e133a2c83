"""This file is the whole appliance as a process whose clock is years off, by Debian's libfaketime (attack 8)."""

import signal
import sys
from asyncio import create_subprocess_exec, subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.appliance import lately, pairing
from gateway.appliance.identity import Identity
from gateway.kit import files
from tests.fakes.console import Console, running_console, token
from tests.unit.appliance.test_recovering import shows, until

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

pytestmark = [
    pytest.mark.attack(8),
    pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed (apt-get install libfaketime)"),
]


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


async def was_welcomed(state: Path) -> bool:
    return lately.read(state).welcomed_at is not None


@pytest.mark.parametrize("start", ["1970-01-02 00:00:00", "2036-11-21 00:00:00"])
async def test_the_appliance_connects_under_a_clock_that_is_years_off(
    tmp_path: Path, console: Console, start: str
) -> None:
    state = files.make_private_directory(tmp_path / "state")
    await pairing.pair(Identity.open(state), await token(console))
    before = Identity.open(state).member()
    shifted = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME": f"@{start}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }
    program = [sys.executable, "-m", "gateway.cli", "appliance", "run", "--state", str(state)]
    process = await create_subprocess_exec(*program, env=shifted, stdout=subprocess.DEVNULL)
    try:
        await until(lambda: shows(console, "status", "connected"))
        await until(lambda: was_welcomed(state))
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()
    after = Identity.open(state).member()
    assert (after.certificate, after.gateway_id) == (before.certificate, before.gateway_id)
    offset = lately.read(state).clock_offset
    assert offset is not None
    assert abs(offset) > 9 * 365 * 86400, "its clock really was off"
