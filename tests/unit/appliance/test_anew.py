"""This file is the promise of an appliance that is paired anew while it runs: it is back at once, as who it is now."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.appliance import pairing
from gateway.appliance.identity import Identity
from gateway.kit import files
from tests.fakes.console import Console, running_console, token
from tests.unit.appliance.test_daemon import running_appliance, settings_in, until
from tests.unit.appliance.test_pairing import repair_token

HOURS = 36000.0


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


async def test_a_running_appliance_that_is_paired_anew_calls_at_once_however_long_it_was_to_wait(
    tmp_path: Path, console: Console
) -> None:
    settings = settings_in(tmp_path).model_copy(update={"reconnect_first": HOURS, "reconnect_cap": HOURS})
    identity = Identity.open(files.make_private_directory(settings.state))
    await pairing.pair(identity, await token(console))
    before = identity.device().public_pem
    with capture_logs() as logged:

        def times(event: str) -> int:
            return sum(one["event"] == event and "address" not in one for one in logged)

        async with running_appliance(settings):
            await until(lambda: times("connected") == 1 and times("data session open") == settings.data_sessions)
            assert (await console.ask("POST", "/api/v1/gateways/dc1/revoke", {})).status == 200
            await until(lambda: times("part failed, will be run again") > settings.data_sessions)
            await pairing.pair(identity, await repair_token(console))
            await until(lambda: times("connected") == 2 and times("data session open") == 2 * settings.data_sessions)
    assert identity.device().public_pem != before
