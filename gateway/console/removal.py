"""This file is how a gateway goes for good: its open commands end, and its clusters are forgotten if that is asked.

Nothing here reads what the commands and clusters say, only that they are there: rows that this version of the
console cannot read any more go as well. What stands in the data centre stays there; nobody is left to remove it.
"""

from datetime import datetime

from gateway.console.errors import GatewayInUseError, GatewayRemovedError
from gateway.console.records import CommandState, ForgottenCluster, Gateway
from gateway.console.store import accounts, clusters, commands, events, gateways, policies
from gateway.console.store.events import Occurrence
from gateway.console.store.scope import Within
from gateway.contract.events import CommandEnded, CommandOutcome
from gateway.contract.problems import problem_of


async def refuse_while_in_use(rows: Within, gateway: Gateway) -> None:
    """Raise GatewayInUseError while clusters live behind a gateway."""
    cluster = await clusters.any_on(rows, gateway.id)
    if cluster is not None:
        raise GatewayInUseError(
            f"gateway {gateway.name!r} still has clusters, {cluster!r} among them: delete them first; if the gateway "
            "is lost for good, have it forgotten together with them (?forget=true, or pcg gateway remove "
            "--forget-clusters): their machines then stay in vCenter and have to be removed there by hand",
            gateway=gateway.name,
            cluster=cluster,
        )


async def remove(rows: Within, gateway: Gateway, *, now: datetime) -> list[ForgottenCluster]:
    """Forget a gateway with every cluster behind it and end its open commands; return the clusters forgotten."""
    await _end_commands(rows, gateway, now)
    forgotten = await clusters.behind(rows, gateway.id)
    for cluster in forgotten:
        await clusters.remove(rows, cluster.id)
    await accounts.remove_all(rows, gateway.id)
    await policies.forget(rows, gateway.id)
    await gateways.remove(rows, gateway.id)
    return forgotten


async def _end_commands(rows: Within, gateway: Gateway, now: datetime) -> None:
    headings = await commands.open_on(rows, gateway.id)
    problem = problem_of(
        GatewayRemovedError(
            f"gateway {gateway.name!r} was removed from the console: whatever the command had begun to make is still "
            "in the data centre",
            gateway=gateway.name,
        )
    )
    for heading in headings:
        await commands.end(rows, heading.id, CommandState.CANCELLED, problem=problem, now=now)
    # Whoever watches the commands has to learn that nothing more will come.
    ended = CommandEnded(outcome=CommandOutcome.CANCELLED, problem=problem)
    await events.append(rows, gateway, [Occurrence(None, one.id, one, ended, now) for one in headings])
