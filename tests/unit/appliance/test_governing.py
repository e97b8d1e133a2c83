"""This file is the promises of `pcg appliance policy`, `approve`, `pause` and `lockdown`, on an appliance at rest."""

import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.appliance.identity import Identity
from gateway.appliance.lockdown import Lockdown
from gateway.appliance.policy.kept import Kept, Proposal
from gateway.cli.main import main
from gateway.contract.commands import Command
from gateway.contract.policy import CommandBounds, Tightening
from gateway.identity import approval
from gateway.kit.clock import SystemClock
from tests.fakes.wishes import a_delete, a_read, an_apply
from tests.unit.appliance.conversation import ScriptedConsole


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def kept(state: Path) -> Kept:
    state.mkdir(mode=0o700)
    return Kept.open(state)


def pcg(state: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["appliance", *arguments, "--state", str(state)])
    return int(left.value.code or 0)


def acts(state: Path) -> list[tuple[str, str]]:
    lines = (state / "audit.log").read_text().splitlines()
    return [(one["action"], one["outcome"]) for one in map(json.loads, lines)]


def in_file(directory: Path, command: Command) -> str:
    path = directory / f"{command.id}.json"
    path.write_text(command.model_dump_json())
    return str(path)


def waits(kept: Kept, command: Command) -> Command:
    kept.wait(command, reason="it destroys", now=SystemClock().now())
    return command


def test_a_new_appliance_shows_that_it_observes(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pcg(state, "policy", "show") == 0
    assert "profile: observe\n" in capsys.readouterr().out


def test_a_profile_is_put_into_force_and_audited(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pcg(state, "policy", "set", "--profile", "operate") == 0
    capsys.readouterr()
    pcg(state, "policy", "show", "-o", "json")
    assert json.loads(capsys.readouterr().out)["policy"]["profile"] == "operate"
    assert acts(state) == [("policy.set", "ok")]


def test_a_file_with_a_mistake_changes_nothing_and_is_audited(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("profile: operate\nquotas: {per_day: {machine: 3}}\n")
    assert pcg(state, "policy", "set", "--file", str(bad)) == 2
    assert f"{bad}:2:20: quotas.per_day.machine: unknown key; did you mean machines?" in capsys.readouterr().err
    assert Kept(state).file.read().policy.profile == "observe"
    assert acts(state) == [("policy.set", "refused")]


def test_the_policy_in_force_is_checked_after_an_edit(
    state: Path, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pcg(state, "policy", "edit-check") == 0
    kept.file.path.write_text("profile: [\n")
    assert pcg(state, "policy", "edit-check") == 2
    assert "policy.yaml:2:1: this is not YAML" in capsys.readouterr().err


def test_a_verdict_is_explained_rule_by_rule(
    state: Path, kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.file.write(b"profile: operate\nvsphere: {templates: [ubuntu]}\n")
    kept.tighten(Tightening(commands=CommandBounds(deny=("destroy",))))
    assert pcg(state, "policy", "test", "-f", in_file(tmp_path, an_apply())) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:-1]] == [
        ["pause", "allowed", "site"],
        ["profile", "allowed", "site"],
        ["vsphere.templates", "refused", "site"],
        ["commands.deny", "allowed", "console"],
    ]
    assert "allowed are ubuntu; this is debian-12" in lines[3]
    assert pcg(state, "policy", "test", "-f", in_file(tmp_path, a_read()), "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "allowed"


def test_a_task_alone_is_judged_and_by_another_policy_too(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, policy = tmp_path / "task.json", tmp_path / "policy.yaml"
    task.write_text(a_delete(uuid4()).task.model_dump_json())
    policy.write_text("profile: operate\n")
    assert pcg(state, "policy", "test", "-f", str(task)) == 1
    assert pcg(state, "policy", "test", "-f", str(task), "--policy", str(policy)) == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "cluster.apply"}', "{" * 100_000])
def test_what_is_no_command_is_an_error_with_a_way_out(
    state: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "command.json"
    path.write_text(content)
    assert pcg(state, "policy", "test", "-f", str(path)) == 2
    assert f"{path} is no" in capsys.readouterr().err


def test_a_proposal_is_looked_at_and_accepted_by_its_hash(
    state: Path, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    proposal = Proposal(policy="profile: provision\n", author="ops", at=SystemClock().now())
    kept.propose(proposal)
    pcg(state, "policy", "show")
    assert "ops proposes another" in capsys.readouterr().out
    pcg(state, "policy", "show", "--proposal")
    assert "profile: provision" in capsys.readouterr().out
    assert pcg(state, "policy", "accept", "0" * 64) == 2
    assert pcg(state, "policy", "accept", proposal.sha256[:12]) == 0
    assert kept.file.read().sha256 == proposal.sha256
    assert acts(state) == [("policy.accepted", "refused"), ("policy.accepted", "ok")]


def test_a_command_that_waits_is_listed_and_approved(
    state: Path, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    command = waits(kept, a_delete(uuid4()))
    pcg(state, "approvals")
    assert capsys.readouterr().out.splitlines()[1].split() == [
        str(command.id),
        "cluster.delete",
        "demo",
        "test",
        "none",
    ]
    assert pcg(state, "approve", str(command.id), "--yes") == 0
    found = kept.of(command)
    assert found is not None
    assert found.is_approved(SystemClock().now())
    assert acts(state) == [("command.approved", "ok")]


def test_without_a_yes_nothing_is_approved(
    state: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = waits(kept, a_delete(uuid4()))
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert pcg(state, "approve", str(command.id)) == 2
    found = kept.of(command)
    assert found is not None
    assert found.approved_at is None
    assert acts(state) == [("command.approved", "refused")]


@pytest.mark.attack(22)
def test_the_word_of_a_key_is_brought_and_a_bad_one_is_refused(
    state: Path, kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = _paired(state, tmp_path)
    command, other = waits(kept, a_delete(uuid4())), waits(kept, a_delete(uuid4()))
    key, soon = Ed25519PrivateKey.generate(), SystemClock().now() + timedelta(hours=1)
    signed = tmp_path / "approval.json"
    signed.write_text(approval.sign(key, command, gateway=gateway, expires=soon).model_dump_json())
    assert pcg(state, "approve", str(other.id), "--signature", str(signed)) == 2
    assert pcg(state, "approve", str(command.id), "--signature", str(signed)) == 0
    found = kept.of(command)
    assert found is not None
    assert found.signers(gateway=gateway, now=SystemClock().now()) == {approval.public_text(key)}
    forged = approval.sign(key, command, gateway=uuid4(), expires=soon)
    signed.write_text(forged.model_dump_json())
    assert pcg(state, "approve", str(command.id), "--signature", str(signed)) == 2


def _paired(state: Path, directory: Path) -> UUID:
    return ScriptedConsole(directory / "console").pair(Identity.open(state)).gateway_id


def test_a_site_is_paused_and_resumed(state: Path, kept: Kept) -> None:
    assert pcg(state, "pause") == 0
    assert kept.is_paused
    assert pcg(state, "resume") == 0
    assert not kept.is_paused
    assert acts(state) == [("site.paused", "ok"), ("site.resumed", "ok")]


def test_a_lockdown_holds_without_an_appliance_and_without_a_console(
    state: Path, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pcg(state, "lockdown") == 0
    assert "one that is started does nothing" in capsys.readouterr().out
    assert Lockdown(state).is_asked
    assert pcg(state, "lockdown", "--release") == 0
    assert not Lockdown(state).is_asked


@pytest.mark.attack(23)
def test_what_a_console_says_moves_no_cursor(state: Path, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    evil = a_delete(uuid4(), name="demo").model_copy(update={"author": "mallory\u202e\u009b2J"})
    waits(kept, evil)
    pcg(state, "approvals")
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


@pytest.mark.attack(23)
def test_a_proposal_turns_no_words_around(state: Path, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    text = "profile: observe  # \u202eevresbo\u2066 \u2028# operate\n# the second line\n"
    kept.propose(Proposal(policy=text, author="mallory\u202e", at=SystemClock().now()))
    pcg(state, "policy", "show", "--proposal")
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.count("\n") == 3
