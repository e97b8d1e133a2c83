"""This file is that random bytes, learned from the seeds, break no parser of the tunnel: a minute of it in all."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.fuzz.running import CORPUS, MEGABYTES, ROOT, fuzz
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


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this machine")
def test_the_memory_of_the_process_that_starts_the_fuzzer_is_not_counted_as_the_targets() -> None:
    program = (
        f"hoard = bytearray({2 * MEGABYTES} << 20); hoard[::4096] = bytes([1]) * len(hoard[::4096])\n"
        "from tests.fuzz.running import fuzz\n"
        "done = fuzz('frames', 1)\n"
        "raise SystemExit(done.stderr if done.returncode else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
