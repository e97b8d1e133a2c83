"""This file is the promises that hold whatever the luck: see run.py for the luck, and promises.py for the promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import many
from tests.simulation.run import one_seed

ROOT = Path(__file__).parents[2]
SEEDS = 2000


@pytest.mark.timeout(900)
def test_two_thousand_lives_lose_no_command_double_no_step_and_leave_no_gap() -> None:
    bad, sentence = many.told(range(SEEDS))
    print(sentence)
    assert not bad, "\n".join(f"python -m tests.simulation --seed {one.seed}: {one.violations[0]}" for one in bad)


def test_one_seed_is_one_run_in_any_process() -> None:
    here = [one_seed(seed) for seed in (3, 10, 37)]
    code = "from tests.simulation import many, run; many.quietly(); print([run.one_seed(s).trace for s in (3, 10, 37)])"
    for salt in ("1", "2"):
        said = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
            env={"PATH": os.defpath, "PYTHONHASHSEED": salt, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert said.stdout.strip() == str([one.trace for one in here])
    assert [one_seed(one.seed) for one in here] == here
