"""This file is what an appliance does whose clock is wrong by years: it pairs, for it judges no date."""

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.appliance import pairing
from gateway.appliance.identity import Identity
from gateway.kit import files
from tests.fakes.console import ShiftedClock, running_console, token


@pytest.mark.parametrize("years", [-9, 9], ids=["ten years ahead of its console", "in 1970, nearly"])
async def test_an_appliance_whose_clock_is_wrong_by_years_pairs(tmp_path: Path, years: int) -> None:
    clock = ShiftedClock()
    clock.ahead = timedelta(days=365 * years)
    async with running_console(tmp_path / "console", clock) as console:
        identity = Identity.open(files.make_private_directory(tmp_path / "state"))
        paired = await pairing.pair(identity, await token(console))
    assert paired.gateway_name == "dc1"
    assert identity.certificate().not_valid_before_utc < clock.now() < identity.certificate().not_valid_after_utc
