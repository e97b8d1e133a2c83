"""This file is that the foreign program is written as Go is written."""

import subprocess
from pathlib import Path

import pytest

from gateway.lab import prerequisites
from gateway.lab.prerequisites import PrerequisiteMissingError
from tests.interop import program


@pytest.fixture
def go() -> Path:
    try:
        return Path(prerequisites.go_program())
    except PrerequisiteMissingError as fault:
        pytest.skip(fault.message)


def said(*arguments: str | Path) -> str:
    done = subprocess.run(arguments, cwd=program.SOURCES, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_gofmt_would_change_nothing(go: Path) -> None:
    assert said(go.with_name("gofmt"), "-l", ".") == ""


def test_what_it_is_built_from_is_what_was_checked_in(go: Path) -> None:
    assert said(go, "mod", "verify") == "all modules verified\n"
