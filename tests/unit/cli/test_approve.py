"""This file is the promises of `pcg approve`: what was shown is what is signed, and the appliance takes it."""

import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gateway.cli.main import main
from gateway.contract.commands import Command
from gateway.contract.policy import Approval
from gateway.identity import approval
from gateway.kit.clock import SystemClock
from tests.fakes.wishes import a_delete

GATEWAY = UUID(int=7)


def pcg(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["approve", *arguments])
    return int(left.value.code or 0)


@pytest.fixture
def key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    path = tmp_path / "alice.key"
    assert pcg("key", "--out", str(path)) == 0
    return path, capsys.readouterr().out.strip()


def listed(directory: Path, *commands: Command) -> Path:
    path = directory / "approvals.json"
    waiting = [{"command": one.model_dump(mode="json"), "since": "then", "reason": "it destroys"} for one in commands]
    path.write_text(json.dumps({"gateway": str(GATEWAY), "commands": waiting}))
    return path


def test_a_key_is_made_once_for_its_owner_alone_and_shown_ever_after(
    key: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, public = key
    assert path.stat().st_mode & 0o777 == 0o600
    assert pcg("key", "--out", str(path)) == 0
    assert capsys.readouterr().out.strip() == public


def test_what_is_signed_is_good_at_that_gateway_for_that_command(
    key: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, now = a_delete(uuid4()), SystemClock().now()
    file = listed(tmp_path, a_delete(uuid4()), command)
    assert pcg("sign", str(command.id), "--from", str(file), "--key", str(key[0]), "--hours", "2", "--yes") == 0
    told = capsys.readouterr()
    assert json.loads(told.err)["task"]["kind"] == "cluster.delete"
    signed = Approval.model_validate_json(told.out)
    assert signed.key == key[1]
    assert approval.is_good(signed, command, gateway=GATEWAY, now=now)
    assert not approval.is_good(signed, command, gateway=GATEWAY, now=now + timedelta(hours=3))


def test_nothing_is_signed_without_a_yes(
    key: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = a_delete(uuid4())
    assert pcg("sign", str(command.id), "--from", str(listed(tmp_path, command)), "--key", str(key[0])) != 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", ["", "{}", '{"gateway": "x", "commands": []}', '{"commands": 3}'])
def test_a_file_of_something_else_is_named(
    key: tuple[Path, str], tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "approvals.json"
    path.write_text(content)
    assert pcg("sign", str(uuid4()), "--from", str(path), "--key", str(key[0]), "--yes") == 2
    assert f"{path} is not what" in capsys.readouterr().err


def test_a_command_that_is_not_in_the_file_is_not_signed(key: tuple[Path, str], tmp_path: Path) -> None:
    file = listed(tmp_path, a_delete(uuid4()))
    assert pcg("sign", str(uuid4()), "--from", str(file), "--key", str(key[0]), "--yes") == 2
