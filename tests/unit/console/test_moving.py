"""This file is what keeps a cluster where its machines are: what may change of its place, and what a delete goes by."""

import pytest

from gateway.contract.clusters import ClusterSpec
from gateway.contract.commands import DeleteCluster
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome
from gateway.contract.messages import Deliver, Rejected
from gateway.contract.problems import Problem
from gateway.kit.errors import Remedy
from tests.fakes.console import Console, cluster, paired_appliance

PATH = "/api/v1/projects/default/clusters/demo"
PROBLEM = Problem(code="cloud.not_there", message="there is no such folder", remedy=Remedy.CALLER)
ELSEWHERE = [cluster(account="other"), cluster(datacenter="DC1"), cluster(folder="B"), cluster(gateway="dc2")]


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=["account", "datacenter", "folder", "gateway"])
async def test_a_cluster_whose_wish_was_sent_cannot_move(console: Console, elsewhere: ClusterSpec) -> None:
    appliance = await paired_appliance(console)
    await paired_appliance(console, "dc2")
    await console.put(cluster())
    async with appliance.connected() as line:
        await line.take()

    said = await console.put(elsewhere)

    assert (said.status, said.body["code"]) == (409, "cluster.cannot_move")
    assert (await console.ask("GET", PATH)).body["spec"] == cluster().model_dump(mode="json")


async def test_a_wish_that_nobody_has_heard_of_may_still_be_corrected(console: Console) -> None:
    await paired_appliance(console)
    await console.put(cluster(folder="typo"))

    assert (await console.put(cluster(folder="A"))).status == 202


async def test_a_second_wish_under_way_holds_the_place_after_the_first_was_rejected(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster(folder="typo"))
    async with appliance.connected() as line:
        delivered = await line.hear(Deliver)
        await console.put(cluster(folder="typo", workers=3))
        await line.say(Rejected(command_id=delivered.command_id, problem=PROBLEM))
        await line.hear(Deliver)
        refused = await console.put(cluster(folder="A"))

    assert (refused.status, refused.body["code"]) == (409, "cluster.cannot_move")


async def test_what_was_withdrawn_unsent_does_not_steer_a_delete(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster(datastore="one"))
    async with appliance.connected() as line:
        command = await line.take()
        ended = CommandEnded(outcome=CommandOutcome.SUCCEEDED)
        await line.report(command.id, CommandBegan(attempt=1), ended)
    await console.put(cluster(datastore="two", workers=9))

    shown = (await console.ask("DELETE", PATH)).body["cluster"]

    assert shown["spec"] == cluster(datastore="one").model_dump(mode="json")
    async with appliance.connected() as line:
        task = (await line.take()).task
    assert isinstance(task, DeleteCluster)
    assert task.cloud == cluster(datastore="one").cloud
