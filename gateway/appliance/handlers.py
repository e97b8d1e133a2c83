"""This file is which function carries out which kind of command; to add a command, add a line."""

from gateway.commands.executor import Handler
from gateway.commands.work import Work
from gateway.contract.commands import ApplyCluster, Command, DeleteCluster, PlanCluster, ReadInventory
from gateway.contract.inventory import Inventory
from gateway.provisioning import clusters
from gateway.provisioning.clusters import Tools


def handlers(tools: Tools) -> Handler:
    """Return the one handler the executor calls, which knows every kind of command."""

    async def carry_out(command: Command, work: Work) -> Inventory | None:
        match command.task:
            case ApplyCluster() as task:
                await clusters.apply_cluster(task, work, tools)
            case DeleteCluster() as task:
                await clusters.delete_cluster(task, work, tools)
            case PlanCluster() as task:
                await clusters.plan_cluster(task, work, tools)
            case ReadInventory() as task:
                return await clusters.read_inventory(task, work, tools)
        return None

    return carry_out
