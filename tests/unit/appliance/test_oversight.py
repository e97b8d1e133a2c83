"""This file is the promises of `pcg appliance target` and `pcg appliance audit`."""

import json
import os
import pwd
from pathlib import Path

import pytest

from gateway.appliance.audit import AuditLog
from gateway.appliance.targets import Targets
from gateway.audit.lines import Act
from gateway.cli.main import main
from gateway.kit.clock import SystemClock


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def pcg(state: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["appliance", *arguments, "--state", str(state)])
    return int(left.value.code or 0)


def acts(state: Path) -> list[tuple[str, str]]:
    lines = (state / "audit.log").read_text().splitlines()
    return [(one["action"], one["outcome"]) for one in map(json.loads, lines)]


def test_a_target_is_added_listed_and_removed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pcg(state, "target", "add", "vc", "10.0.0.5", "443", "--kind", "vcenter") == 0
    assert pcg(state, "target", "add", "api", "k8s.example.com", "6443", "--allow", "10.1.0.0/16") == 0
    capsys.readouterr()
    assert pcg(state, "target", "list") == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "KIND", "HOST", "PORT", "ALLOWED", "ADDRESSES"]
    assert first.split() == ["api", "tcp", "k8s.example.com", "6443", "10.1.0.0/16"]
    assert second.split() == ["vc", "vcenter", "10.0.0.5", "443", "10.0.0.5/32"]
    assert pcg(state, "target", "remove", "vc") == 0
    assert Targets(state / "targets").names() == ["api"]
    assert acts(state) == [("target.added", "ok"), ("target.added", "ok"), ("target.removed", "ok")]


def test_programs_get_json(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pcg(state, "target", "add", "vc", "10.0.0.5", "443")
    capsys.readouterr()
    pcg(state, "target", "list", "-o", "json")
    told = {"name": "vc", "kind": "tcp", "host": "10.0.0.5", "port": 443, "allow": ["10.0.0.5/32"]}
    assert json.loads(capsys.readouterr().out) == {"targets": [told]}


@pytest.mark.attack(10)
@pytest.mark.parametrize(
    "wrong",
    [
        ["vc", "2130706433", "443"],
        ["vc", "user@10.0.0.5", "443"],
        ["vc", "::ffff:10.0.0.5", "443"],
        ["vc", "fe80::1%eth0", "443"],
        ["vc", "vcenter.example.com.", "443", "--allow", "10.0.0.0/8"],
        ["vc", "vc\u0435nter.example.com", "443", "--allow", "10.0.0.0/8"],
        ["vc", "vcenter.example.com", "443"],
        ["vc", "127.0.0.1", "443"],
        ["vc", "10.0.0.5", "70000"],
        ["../vc", "10.0.0.5", "443"],
        ["vc", "vcenter", "443", "--allow", "10.0.0.1/8"],
    ],
    ids=repr,
)
def test_what_could_be_read_in_two_ways_is_refused_and_logged(
    state: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    assert pcg(state, "target", "add", *wrong) == 2
    assert "target.invalid" in capsys.readouterr().err
    assert Targets(state / "targets").names() == []
    assert acts(state) == [("target.added", "refused")]


def test_removing_what_is_not_there_names_what_is(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pcg(state, "target", "add", "vc", "10.0.0.5", "443")
    assert pcg(state, "target", "remove", "cv") == 2
    assert "it has: vc" in capsys.readouterr().err


def test_an_audit_log_that_holds_is_shown_with_its_head(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pcg(state, "target", "add", "vc", "10.0.0.5", "443")
    capsys.readouterr()
    assert pcg(state, "audit", "--verify") == 0
    out = capsys.readouterr().out
    assert "target.added" in out
    assert "holds" in out
    assert pcg(state, "audit", "--verify", "--output", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["entries"][0]["facts"]["host"], told["verdict"]["broken"]) == ("10.0.0.5", None)
    assert told["verdict"]["head"] in out


def test_a_changed_line_is_told_with_an_exit_code(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        pcg(state, "target", "add", name, "10.0.0.5", "443")
    path = state / "audit.log"
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"c"'))
    assert pcg(state, "audit", "--verify") == 4
    captured = capsys.readouterr()
    assert "audit.broken" in captured.err
    assert "line 2" in captured.err


@pytest.mark.attack(23)
def test_what_stands_in_the_log_moves_no_cursor(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pcg(state, "target", "list")
    AuditLog(state, clock=SystemClock()).append([Act("a", "ok", {"user": "\x1b[2J\u202eevil\n", "x": "\x9b"})])
    capsys.readouterr()
    pcg(state, "audit")
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert all(line.isprintable() for line in out.splitlines())


def test_only_the_newest_lines_are_shown_unless_all_are_wished(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pcg(state, "target", "list")
    AuditLog(state, clock=SystemClock()).append([Act(f"act{number}", "ok") for number in range(60)])
    capsys.readouterr()
    for arguments, count in ((["audit"], 50), (["audit", "--last", "3"], 3), (["audit", "--last", "0"], 60)):
        pcg(state, *arguments)
        assert len(capsys.readouterr().out.splitlines()) == count + 1


def test_an_empty_log_holds(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pcg(state, "audit", "--verify") == 0
    assert "empty" in capsys.readouterr().out


def test_who_changed_something_is_named_even_without_a_name_and_behind_sudo(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(uid: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setenv("SUDO_USER", "ada")
    assert pcg(state, "target", "add", "vc", "10.0.0.5", "443") == 0
    monkeypatch.delenv("SUDO_USER")
    assert pcg(state, "target", "remove", "vc") == 0
    first, second = (json.loads(line)["facts"] for line in (state / "audit.log").read_text().splitlines())
    assert (first["user"], first["sudo_user"]) == (f"uid {os.getuid()}", "ada")
    assert "sudo_user" not in second


def test_what_the_help_says_of_the_console_is_true(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["appliance", "target", "add", "--help"])
    assert "name and kind" in " ".join(capsys.readouterr().out.split())
