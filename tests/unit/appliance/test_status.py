"""This file is the promises of `pcg appliance status`, and of what the running appliance leaves for it."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from gateway.appliance import lately
from gateway.appliance.commands import app
from gateway.appliance.identity import Identity
from gateway.appliance.lately import Diary, Lately
from gateway.identity import words
from gateway.kit import files, moments
from gateway.tunnel.roads import DialError
from tests.fakes.clock import HandClock
from tests.fakes.wishes import WHEN
from tests.unit.appliance.conversation import ScriptedConsole


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return files.make_private_directory(tmp_path / "state")


def said(state: Path, *words: str) -> str:
    result = CliRunner().invoke(app, ["status", "--state", str(state), *words])
    assert result.exit_code == 0, result
    return result.stdout


def test_one_that_is_not_paired_says_so(state: Path) -> None:
    assert said(state) == "Not paired.\nCloud accounts: none.\nTargets: none.\n"
    assert json.loads(said(state, "-o", "json")) == {"paired": False, "accounts": [], "targets": []}


def test_one_that_is_paired_tells_its_fingerprint_its_certificate_and_the_last_welcome(
    tmp_path: Path, state: Path
) -> None:
    identity = Identity.open(state)
    ScriptedConsole(tmp_path / "console").pair(identity)
    Diary(state, HandClock()).welcomed(WHEN)
    text, found = said(state), json.loads(said(state, "-o", "json"))
    fingerprint = words.fingerprint(identity.device().public_pem)
    assert (found["fingerprint"], found["gateway"], found["epoch"]) == (fingerprint, "dc1", 1)
    assert found["certificate"]["serial"] == f"{identity.certificate().serial_number:x}"
    assert fingerprint in text
    assert f"Last welcomed by the console: {moments.minute(WHEN)}." in text
    assert found["welcomed_at"] == moments.stamp(WHEN)
    assert f"until {moments.minute(identity.certificate().not_valid_after_utc)}." in text
    assert "clock" not in text


def test_nothing_secret_is_in_it(tmp_path: Path, state: Path) -> None:
    identity = Identity.open(state)
    ScriptedConsole(tmp_path / "console").pair(identity)
    told = said(state) + said(state, "-o", "json")
    assert identity.member().join.ticket.get_secret_value() not in told
    assert "PRIVATE" not in told


def test_a_clock_that_is_off_is_said_in_the_log_once_and_in_the_status(tmp_path: Path, state: Path) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(state))
    diary = Diary(state, HandClock())
    with capture_logs() as logged:
        for _ in range(3):
            diary.welcomed(WHEN + timedelta(seconds=90))
        diary.welcomed(WHEN)
        diary.welcomed(WHEN - timedelta(seconds=61))
    assert [one["ahead_seconds"] for one in logged] == [-90, 61]
    assert "61 s ahead of the console's" in said(state)


def test_why_it_does_not_connect_is_shown_until_it_does(tmp_path: Path, state: Path) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(state))
    diary = Diary(state, HandClock())
    diary.failed(DialError("nobody answers"))
    assert "nobody answers (tunnel.dial)" in said(state)
    assert re.search(r"Since [\d-]+ \d\d:\d\d UTC: ", said(state))
    assert re.fullmatch(r"[\d-]+T[\d:]+Z", json.loads(said(state, "-o", "json"))["failure"]["at"])
    diary.welcomed(WHEN)
    assert "nobody answers" not in said(state)


@pytest.mark.attack(23)
def test_what_the_console_gives_as_a_reason_moves_no_cursor(tmp_path: Path, state: Path) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(state))
    Diary(state, HandClock()).failed(DialError("no\x1b[2J\x1b]52;c;AA\x07\r\nPaired with evil.\u202e"))
    shown = said(state)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "\nPaired with evil" not in shown


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"clock_offset": "much"}'])
def test_what_cannot_be_read_is_as_good_as_none(tmp_path: Path, state: Path, content: bytes) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(state))
    files.write_whole(state / "lately.json", content)
    assert lately.read(state) == Lately()
    assert "not yet" in said(state)


def test_the_last_welcome_is_still_known_after_the_appliance_was_started_again(tmp_path: Path, state: Path) -> None:
    ScriptedConsole(tmp_path / "console").pair(Identity.open(state))
    Diary(state, HandClock()).welcomed(WHEN)
    welcomed = json.loads(said(state, "-o", "json"))["welcomed_at"]
    Diary(state, HandClock()).failed(DialError("nobody answers"))
    found = json.loads(said(state, "-o", "json"))
    assert found["welcomed_at"] == welcomed is not None
    assert found["failure"]["code"] == "tunnel.dial"
