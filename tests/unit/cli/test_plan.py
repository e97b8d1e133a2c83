"""This file is how a plan is asked for, shown and insisted on, from the command line to the gateway and back."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from gateway.cli import tables
from gateway.cli.exits import Exit
from gateway.console.api.models import CommandView
from gateway.contract.commands import ApplyCluster, Command, DeleteCluster, PlanCluster
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, StepBegan, StepDone
from gateway.contract.plans import Plan
from tests.fakes.console import Line, cluster, paired_appliance
from tests.unit.cli import samples
from tests.unit.cli.conftest import Answer, User
from tests.unit.cli.test_tables import printed

HASH = "0123456789abcdef" * 4
PLAN = samples.plan().model_copy(update={"sha256": HASH})


def cluster_file(directory: Path) -> str:
    file = directory / "demo.yaml"
    file.write_text(yaml.safe_dump(cluster().model_dump(mode="json", exclude_defaults=True)))
    return str(file)


async def carries_out(line: Line, *, plan: Plan = PLAN) -> Command:
    """Take the next command, tell a plan, then one more step, and end it well."""
    command = await line.take()
    await line.report(command.id, CommandBegan(attempt=1), StepDone(step="check", plan=plan))
    await line.report(command.id, StepBegan(step="a/clone", title="Clone a"))
    await line.report(command.id, CommandEnded(outcome=CommandOutcome.SUCCEEDED))
    return command


async def asked(user: User, *arguments: str) -> tuple[Answer, Command]:
    user.is_signed_in()
    appliance = await paired_appliance(user.console)
    async with appliance.connected() as line, asyncio.TaskGroup() as group:
        said = group.create_task(user.pcg(*arguments))
        command = await carries_out(line)
    return said.result(), command


async def test_a_plan_is_shown_with_marks_a_summary_and_its_hash(user: User, tmp_path: Path) -> None:
    said, command = await asked(user, "cluster", "plan", "-f", cluster_file(tmp_path))
    assert said.code == 0, said.err
    assert isinstance(command.task, PlanCluster)
    assert isinstance(command.task.of, ApplyCluster)
    rows = {words[1]: words[0] for line in said.out.splitlines() if len(words := line.split()) > 2}
    assert (rows["a/clone"], rows["b/clone"], rows["prepare"], rows["text"]) == ("+", "-/+", "~", "-")
    assert "2 machines (4 vCPU, 4.0 GiB memory, 20.0 GiB disk) to add, 1 machine" in said.out
    assert said.out.splitlines()[-1] == f"Plan {HASH}"
    gone = await user.console.ask("GET", "/api/v1/projects/default/clusters/demo")
    assert gone.status == 404, "nothing is remembered of a cluster that was only planned"


async def test_a_plan_of_a_new_cluster_for_programs_is_the_document(user: User, tmp_path: Path) -> None:
    said, _ = await asked(user, "cluster", "plan", "-f", cluster_file(tmp_path), "-o", "json")
    assert Plan.model_validate_json(said.out) == PLAN


async def test_an_apply_shows_its_plan_before_it_begins_and_keeps_it_in_its_result(user: User, tmp_path: Path) -> None:
    said, command = await asked(user, "cluster", "apply", "-f", cluster_file(tmp_path), "--plan", HASH)
    assert said.code == 0, said.err
    assert isinstance(command.task, ApplyCluster)
    assert command.task.plan == HASH
    assert said.out.index(f"Plan {HASH}") < said.out.index("a/clone: Clone a")
    shown = CommandView.model_validate((await user.console.ask("GET", f"/api/v1/commands/{command.id}")).body)
    assert shown.plan == PLAN


async def test_a_delete_is_planned_and_bound_to_its_plan(user: User, tmp_path: Path) -> None:
    user.is_signed_in()
    appliance = await paired_appliance(user.console)
    async with appliance.connected() as line:
        await user.console.put(cluster())
        await carries_out(line)
        async with asyncio.TaskGroup() as group:
            plan = group.create_task(user.pcg("cluster", "plan", "--delete", "demo"))
            planned = await carries_out(line)
        async with asyncio.TaskGroup() as group:
            said = group.create_task(user.pcg("cluster", "delete", "demo", "--yes", "--plan", HASH))
            deleted = await carries_out(line)
    assert (plan.result().code, said.result().code) == (0, 0)
    assert isinstance(planned.task, PlanCluster)
    assert isinstance(deleted.task, DeleteCluster)
    assert planned.task.of == deleted.task.model_copy(update={"plan": None})
    assert deleted.task.plan == HASH


async def test_a_plan_leaves_a_cluster_as_it_was_also_when_it_is_refused(user: User) -> None:
    appliance = await paired_appliance(user.console)
    where = "/api/v1/projects/default/clusters/demo"
    async with appliance.connected() as line:
        await user.console.put(cluster())
        await carries_out(line)
        before = (await user.console.ask("GET", where)).body
        asked = await user.console.ask("POST", f"{where}/plan", cluster(workers=5).model_dump(mode="json"))
        assert (asked.status, asked.body["kind"], asked.body["cluster"]) == (202, "cluster.plan", "demo")
        command = await line.take()
        refused = CommandEnded(outcome=CommandOutcome.REFUSED, problem=samples.problem("no"))
        await line.report(command.id, CommandBegan(attempt=1), refused)
        assert (await user.console.ask("GET", where)).body == before
        in_project = await user.console.ask("GET", f"/api/v1/projects/default/commands/{command.id}")
        assert (in_project.status, in_project.body["state"]) == (200, "refused")


@pytest.mark.parametrize("hash_", ["0" * 63, "x" * 64, "0" * 64 + "&force=1", ""])
async def test_what_is_no_hash_is_refused_before_anything_is_sent(user: User, tmp_path: Path, hash_: str) -> None:
    said = await user.pcg("cluster", "apply", "-f", cluster_file(tmp_path), "--plan", hash_)
    assert said.code == Exit.INPUT
    assert "64 hexadecimal digits" in said.err


async def test_a_plan_is_of_one_thing(user: User, tmp_path: Path) -> None:
    for arguments in ([], ["-f", cluster_file(tmp_path), "--delete", "demo"]):
        said = await user.pcg("cluster", "plan", *arguments)
        assert said.code == Exit.INPUT


def test_an_empty_plan_says_so_in_one_line() -> None:
    looked = [step for step in PLAN.steps if step.step == "check"]
    text = printed(tables.plan(PLAN.model_copy(update={"steps": looked, "cluster": "demo"})))
    assert "Cluster demo: nothing to change, 3 machines are as wished." in text
    assert "WHAT CHANGES" not in text


def test_a_plan_that_is_told_in_part_says_how_much_is_left_out() -> None:
    assert "and 7 that are not shown" in printed(tables.plan(PLAN.model_copy(update={"left_out": 7})))


def test_json_of_events_holds_the_plan() -> None:
    event = samples.event(StepDone(step="check", plan=PLAN), of=samples.command().id)
    assert json.loads(event.model_dump_json())["body"]["plan"]["sha256"] == HASH
