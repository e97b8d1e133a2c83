"""This file is the promises of `pcg` against a whole console: signing in, wishing, waiting, leaving."""

import asyncio
import json
import os
import signal

from gateway.cli.exits import Exit
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, StepBegan
from gateway.contract.problems import Problem
from gateway.kit.errors import Remedy
from tests.fakes import console as fakes
from tests.unit.cli.conftest import User

REFUSED = CommandEnded(
    outcome=CommandOutcome.REFUSED, problem=Problem(code="cloud.not_there", message="no\n\x1b", remedy=Remedy.CALLER)
)
DONE = CommandEnded(outcome=CommandOutcome.SUCCEEDED)


def cluster_file(user: User) -> str:
    path = user.directory / "cluster.json"
    path.write_text(fakes.cluster().model_dump_json(exclude_none=True))
    return str(path)


async def test_signing_in_needs_the_right_pin_and_key_and_project(user: User) -> None:
    url = user.console.reached.api
    wrong_pin = await user.pcg("login", url, "--pin", "sha256:" + "0" * 64, "--key-file", "-", stdin=user.console.key)
    assert (wrong_pin.code, "console.pin_mismatch" in wrong_pin.err) == (Exit.OPERATOR, True)
    no_pin = await user.pcg("login", url, "--key-file", "-", stdin=user.console.key)
    assert (no_pin.code, user.pin in no_pin.err) == (Exit.INPUT, True)
    no_key = await user.pcg("login", url, "--pin", user.pin)
    assert (no_key.code, "secret.unreadable" in no_key.err) == (Exit.INPUT, True)
    other_key = await user.pcg("login", url, "--pin", user.pin, "--key-file", "-", stdin="pcgkey1_x")
    assert other_key.code == Exit.INPUT
    elsewhere = await user.pcg(
        "login", url, "--pin", user.pin, "--key-file", "-", "--project", "other", stdin=user.console.key
    )
    assert (elsewhere.code, "cli.project_unknown" in elsewhere.err) == (Exit.INPUT, True)
    assert not (user.directory / "config").exists()
    right = await user.pcg("login", url, "--pin", user.pin, "--key-file", "-", stdin=user.console.key + "\n")
    assert (right.code, right.err) == (Exit.OK, "")
    assert (await user.pcg("gateway", "list")).code == Exit.OK
    assert (await user.pcg("logout")).code == Exit.OK
    assert (await user.pcg("gateway", "list")).code == Exit.INPUT


async def test_a_name_with_a_path_in_it_removes_nothing(user: User) -> None:
    user.is_signed_in()
    await fakes.paired_appliance(user.console)
    await user.console.put(fakes.cluster("prod"))
    assert (await user.pcg("cluster", "delete", "x/../prod", "--yes")).code == Exit.INPUT
    assert (await user.pcg("cluster", "delete", "prod")).code == Exit.INPUT
    found = json.loads((await user.pcg("cluster", "list", "-o", "json")).out)
    assert [(one["name"], one["phase"]) for one in found["items"]] == [("prod", "pending")]


async def test_programs_get_events_and_then_the_cluster(user: User) -> None:
    user.is_signed_in()
    appliance = await fakes.paired_appliance(user.console)
    async with appliance.connected() as line, asyncio.TaskGroup() as tasks:
        applying = tasks.create_task(user.pcg("cluster", "apply", "-f", cluster_file(user), "-o", "json"))
        command = await line.take()
        await line.report(command.id, CommandBegan(attempt=1), DONE)
        answer = await applying
    assert (answer.code, answer.err) == (Exit.OK, "")
    assert [one["body"]["type"] for one in answer.lines[:-1]] == ["command.began", "command.ended"]
    assert (answer.lines[-1]["name"], answer.lines[-1]["phase"]) == ("demo", "ready")
    async with appliance.connected() as line, asyncio.TaskGroup() as tasks:
        removing = tasks.create_task(user.pcg("cluster", "delete", "demo", "--yes", "-o", "json"))
        command = await line.take()
        await line.report(command.id, CommandBegan(attempt=1), DONE)
        answer = await removing
    assert answer.code == Exit.OK
    assert (answer.lines[-1]["kind"], answer.lines[-1]["state"]) == ("cluster.delete", "succeeded")


async def test_a_command_that_ends_badly_exits_with_one_and_the_reason_on_one_line(user: User) -> None:
    user.is_signed_in()
    appliance = await fakes.paired_appliance(user.console)
    async with appliance.connected() as line, asyncio.TaskGroup() as tasks:
        applying = tasks.create_task(user.pcg("cluster", "apply", "-f", cluster_file(user)))
        command = await line.take()
        await line.report(command.id, REFUSED)
        answer = await applying
    assert answer.code == Exit.FAILED
    (said,) = answer.err.splitlines()
    assert said.isprintable() or "\ufffd" in said
    assert said.startswith("error: no ")
    assert said.endswith(" [cloud.not_there]")


async def test_waiting_for_a_gateway_that_is_away_says_so_and_can_be_limited(user: User) -> None:
    user.is_signed_in()
    await fakes.paired_appliance(user.console)
    for arguments in (
        ["cluster", "apply", "-f", cluster_file(user), "--timeout", "0.1"],
        ["gateway", "inventory", "dc1", "--account", "main", "--timeout", "0.1"],
    ):
        answer = await user.pcg(*arguments)
        assert answer.code == Exit.RETRY
        assert "dc1 is not connected (never seen); the command waits for it" in answer.err
        assert "goes on" in answer.err.splitlines()[-1]


async def test_ctrl_c_leaves_the_command_and_says_so(user: User) -> None:
    user.is_signed_in()
    appliance = await fakes.paired_appliance(user.console)
    async with appliance.connected() as line:
        process = await user.begins("cluster", "apply", "-f", cluster_file(user))
        command = await line.take()
        await line.report(command.id, CommandBegan(attempt=1), StepBegan(step="a", title="Cloning"))
        assert process.stdout is not None
        while b"Cloning" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == Exit.INTERRUPTED
    assert err.decode().splitlines() == ["the command goes on; `pcg cluster watch demo` shows it", "interrupted"]


async def test_a_reader_that_leaves_in_the_middle_ends_it_quietly(user: User) -> None:
    user.is_signed_in()
    appliance = await fakes.paired_appliance(user.console)
    reader, writer = os.pipe()
    async with appliance.connected() as line:
        process = await user.begins("cluster", "apply", "-f", cluster_file(user), stdout=writer)
        os.close(writer)
        command = await line.take()
        os.close(reader)
        await line.report(command.id, CommandBegan(attempt=1))
        _, err = await process.communicate()
    assert (process.returncode, err) == (Exit.PIPE_CLOSED, b"")


async def test_a_gateway_is_removed_with_its_clusters_only_when_that_is_said(user: User) -> None:
    user.is_signed_in()
    await fakes.paired_appliance(user.console)
    await user.console.put(fakes.cluster())
    assert "cli.not_confirmed" in (await user.pcg("gateway", "remove", "dc1")).err
    assert "gateway.in_use" in (await user.pcg("gateway", "remove", "dc1", "--yes")).err
    answer = await user.pcg("gateway", "remove", "dc1", "--yes", "--forget-clusters", "-o", "json")
    assert answer.code == Exit.OK, answer
    assert [one["name"] for one in json.loads(answer.out)["forgotten"]] == ["demo"]
    assert json.loads((await user.pcg("gateway", "list", "-o", "json")).out) == {"items": []}


async def test_a_revoked_token_is_shown_to_programs(user: User) -> None:
    user.is_signed_in()
    made = json.loads((await user.pcg("token", "create", "dc9", "-o", "json")).out)
    revoked = await user.pcg("token", "revoke", made["id"], "--output", "json")
    assert json.loads(revoked.out)["state"] == "revoked"
