"""This file is what a run of Ansible promises, on a real sshd."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.kit.clock import SystemClock
from gateway.playbooks import hostkeys
from gateway.playbooks.ansible import AnsiblePlaybooks
from gateway.playbooks.port import (
    PlaybookBrokenError,
    PlaybookFailedError,
    PlaybookUnreachableError,
    Target,
    TaskSeen,
)
from gateway.playbooks.progress import HostKeyChangedError
from tests.integration.playbooks.machine import Machine, machine, until, with_targets

TEMPLATE = "{{ lookup('pipe','id') }}"


async def ignore(_seen: TaskSeen) -> None:
    """Listen to nothing."""


async def test_a_run_reports_each_task_and_returns_facts_and_changes(
    there: Machine, playbooks: AnsiblePlaybooks
) -> None:
    seen: list[TaskSeen] = []

    async def note(one: TaskSeen) -> None:
        seen.append(one)

    result = await playbooks.run(there.run("greet", names=("a", "b"), given="hello"), on_task=note)

    assert result.changed == {"a": 1, "b": 1}
    assert result.facts["a"]["echoed"] == "hello"
    assert [(one.task, one.changed, one.done) for one in seen if one.target == "b"] == [
        ("Change something", True, 1),
        ("Change nothing", False, 2),
        ("Publish", False, 3),
    ]


async def test_a_failure_names_machine_task_and_message(there: Machine, playbooks: AnsiblePlaybooks) -> None:
    with pytest.raises(
        PlaybookFailedError, match=r"machine demo-workers-0: task Look for what is not there: .*/not/there"
    ):
        await playbooks.run(there.run("fail"), on_task=ignore)


@pytest.mark.attack(28)
async def test_a_failure_under_no_log_keeps_its_secret(there: Machine, playbooks: AnsiblePlaybooks) -> None:
    with pytest.raises(PlaybookFailedError, match="hidden") as caught:
        await playbooks.run(there.run("hide", given="open-sesame"), on_task=ignore)
    assert "open-sesame" not in caught.value.message


async def test_a_machine_that_refuses_our_key_is_unreachable(
    there: Machine, playbooks: AnsiblePlaybooks, tmp_path: Path
) -> None:
    with pytest.raises(PlaybookUnreachableError, match="Permission denied"):
        await playbooks.run(replace(there.run("greet"), ssh_key=tmp_path / "host_key"), on_task=ignore)


@pytest.mark.parametrize("playbook", ["broken", "missing"])
async def test_a_playbook_that_cannot_be_run_is_told_from_one_that_failed(
    there: Machine, playbooks: AnsiblePlaybooks, playbook: str
) -> None:
    with pytest.raises(PlaybookBrokenError):
        await playbooks.run(there.run(playbook), on_task=ignore)


@pytest.mark.attack(26)
async def test_a_template_in_an_outside_value_stays_text(there: Machine, playbooks: AnsiblePlaybooks) -> None:
    nested = {"list": [TEMPLATE, {"deep": TEMPLATE}], "text": TEMPLATE}
    targets = [Target("a", "127.0.0.1", variables={"mine": TEMPLATE})]

    for given in (TEMPLATE, nested):
        run = with_targets(there.run("greet", given=given), *targets)  # type: ignore[arg-type]
        facts = (await playbooks.run(run, on_task=ignore)).facts["a"]

        assert facts["given"] == given
        assert facts["mine"] == TEMPLATE
        assert "uid=" not in str(facts)


async def test_a_host_key_is_learned_at_the_first_contact_and_must_match_from_then_on(
    there: Machine, playbooks: AnsiblePlaybooks, project: Path, tmp_path: Path
) -> None:
    await playbooks.run(there.run("greet"), on_task=ignore)
    assert there.known_hosts.read_text().startswith("demo-workers-0 ssh-ed25519 ")

    (tmp_path / "other").mkdir()
    async with machine(tmp_path / "other") as impostor:
        fooled = AnsiblePlaybooks(clock=SystemClock(), project=project, ssh_port=impostor.port, reach_within=10)
        run = replace(impostor.run("greet"), known_hosts=there.known_hosts)
        with pytest.raises(HostKeyChangedError):
            await fooled.run(run, on_task=ignore)

        hostkeys.forget(there.known_hosts, "demo-workers-0")
        await fooled.run(run, on_task=ignore)


@pytest.mark.attack(27)
@pytest.mark.attack(28)
async def test_nothing_of_our_environment_reaches_ansible_and_no_secret_is_on_a_command_line(
    there: Machine, playbooks: AnsiblePlaybooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCG_SECRET", "open-sesame-1")
    monkeypatch.setenv("LD_PRELOAD_", "open-sesame-2")
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "open-sesame-3")
    monkeypatch.setenv("https_proxy", "open-sesame-4")
    run = there.run("look_around", given=str(tmp_path), unused="open-sesame-5")

    facts = (await playbooks.run(run, on_task=ignore)).facts["demo-workers-0"]

    assert "ANSIBLE_CONFIG" in str(facts["readable"])
    assert "StrictHostKeyChecking=accept-new" in str(facts["readable"])
    assert "open-sesame" not in str(facts["readable"])
    assert facts["writable"] == ""


async def test_a_slow_listener_does_not_stall_ansible(there: Machine, playbooks: AnsiblePlaybooks) -> None:
    first, all_may_go_on = asyncio.Event(), asyncio.Event()
    heard: list[TaskSeen] = []

    async def slowly(seen: TaskSeen) -> None:
        heard.append(seen)
        first.set()
        await all_may_go_on.wait()

    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        running = group.create_task(playbooks.run(there.run("many"), on_task=slowly))
        await first.wait()
        await until(lambda: not _ansible_under(os.getpid()))
        all_may_go_on.set()
        await running

    assert [seen.done for seen in heard] == list(range(1, 13))


async def test_an_error_of_the_listener_ends_the_run_and_is_passed_on(
    there: Machine, playbooks: AnsiblePlaybooks
) -> None:
    class DiskFullError(Exception):
        pass

    async def cannot(_seen: TaskSeen) -> None:
        raise DiskFullError

    with pytest.raises(DiskFullError):
        await playbooks.run(there.run("many"), on_task=cannot)
    assert not _ansible_under(os.getpid())


def _ansible_under(pid: int) -> bool:
    children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    said = [Path(f"/proc/{child}/cmdline").read_bytes() for several in children for child in several]
    return any(b"gateway.playbooks.runner" in one for one in said)
