"""This file is the linters, run as tests: one command checks everything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

LINTERS = {
    "ruff finds nothing": [str(BIN / "ruff"), "check", "--quiet", "."],
    "ruff would format nothing": [str(BIN / "ruff"), "format", "--check", "--quiet", "."],
    "types fit": [str(BIN / "mypy")],
    "imports go down only": [str(BIN / "lint-imports"), "--no-cache"],
    "yamllint finds nothing": [str(BIN / "yamllint"), "--strict", "--config-file", "ansible/.yamllint", "ansible"],
    "ansible-lint finds nothing": [str(BIN / "ansible-lint"), "--offline", "--profile", "production", "ansible"],
}


@pytest.mark.parametrize("command", LINTERS.values(), ids=LINTERS.keys())
def test_linter(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("gofmt") is None, reason="no Go on this machine")
def test_gofmt_would_change_nothing() -> None:
    done = subprocess.run(["gofmt", "-l", "gateway/lab/vcenter"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""


def environment() -> dict[str, str]:
    return {"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home()), "LC_ALL": "C.UTF-8"}
