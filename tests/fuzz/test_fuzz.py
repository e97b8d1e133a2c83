"""This file is that random bytes, learned from the seeds, break no parser of the tunnel: a minute of it in all."""

from importlib.util import find_spec

import pytest

from tests.fuzz.running import CORPUS, fuzz
from tests.fuzz.targets import TARGETS

SECONDS = 60


@pytest.mark.attack(16)
@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_does_what_its_target_promises(name: str) -> None:
    seeds = sorted((CORPUS / name).iterdir())
    assert len(seeds) >= 5
    for seed in seeds:
        TARGETS[name](seed.read_bytes())


@pytest.mark.attack(16)
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this machine")
@pytest.mark.parametrize("name", TARGETS)
def test_random_bytes_find_no_crash_no_hang_and_no_hoard(name: str) -> None:
    done = fuzz(name, SECONDS // len(TARGETS))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "stat::number_of_executed_units" in done.stderr
