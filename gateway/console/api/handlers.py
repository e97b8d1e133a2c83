"""This file is what each route does: a few lines that ask the rooms and show the answer."""

from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from gateway import __version__
from gateway.console.api import models, views
from gateway.console.api.models import Nothing
from gateway.console.api.problems import RequestInvalidError
from gateway.console.api.routes import Call
from gateway.console.fleet import Wished
from gateway.console.records import Cluster
from gateway.console.store import audit, clusters, commands, gateways, people
from gateway.console.store.audit import Sought
from gateway.console.store.scope import Within
from gateway.contract.clusters import ClusterSpec, Machine
from gateway.contract.commands import PauseCommands, ResumeCommands
from gateway.contract.pairing import PairingChallenge, PairingFinish, PairingResult, PairingStart
from gateway.contract.problems import Fault


async def health(_call: Call[Nothing, Nothing, Nothing]) -> models.Health:
    """Say that the console is up."""
    return models.Health(status="ok", version=__version__)


async def who_am_i(call: Call[Nothing, Nothing, Nothing]) -> models.WhoAmI:
    """Say whose key it is."""
    async with call.rooms.store.reading(call.scope) as rows:
        names = sorted((await people.project_names(rows)).values())
    caller = call.caller
    return models.WhoAmI(
        tenant=caller.tenant_name, user=caller.user, key=caller.key_name, projects=names, version=__version__
    )


async def start_pairing(call: Call[Nothing, Nothing, PairingStart]) -> PairingChallenge:
    """Answer an appliance's first question."""
    return await call.rooms.pairing.start(call.body, address=call.address)


async def finish_pairing(call: Call[Nothing, Nothing, PairingFinish]) -> PairingResult:
    """Pair an appliance."""
    return await call.rooms.pairing.finish(call.body, address=call.address)


async def list_tokens(call: Call[Nothing, Nothing, Nothing]) -> models.RegistrationTokens:
    """List registration tokens."""
    now = call.rooms.clock.now()
    found = await call.rooms.tokens.every(call.scope)
    since = call.rooms.authority.current_since
    return models.RegistrationTokens(items=[views.token(one, now=now, root_since=since) for one in found])


async def make_token(call: Call[Nothing, Nothing, models.NewRegistrationToken]) -> models.FreshRegistrationToken:
    """Make a registration token."""
    body, life = call.body, timedelta(hours=call.body.hours)
    token, text = await call.rooms.tokens.make(
        call.scope, body.gateway, life=life, author=call.caller.user, confirm=body.confirm
    )
    shown = views.token(token, now=call.rooms.clock.now())
    return models.FreshRegistrationToken(**dict(shown), token=text)


async def revoke_token(call: Call[models.OneToken, Nothing, Nothing]) -> None:
    """Revoke a registration token."""
    await call.rooms.tokens.revoke(call.scope, call.path.id, author=call.caller.user)


async def list_gateways(call: Call[Nothing, Nothing, Nothing]) -> models.Gateways:
    """List gateways."""
    async with call.rooms.store.reading(call.scope) as rows:
        found = await gateways.every(rows)
    now = call.rooms.clock.now()
    return models.Gateways(items=[views.gateway(one, now=now) for one in found])


async def show_gateway(call: Call[models.OneGateway, Nothing, Nothing]) -> models.GatewayView:
    """Show a gateway."""
    async with call.rooms.store.reading(call.scope) as rows:
        found = await gateways.named(rows, call.path.name)
    return views.gateway(found, now=call.rooms.clock.now())


async def list_targets(call: Call[models.OneGateway, Nothing, Nothing]) -> models.Targets:
    """List what a gateway offers streams to."""
    async with call.rooms.store.reading(call.scope) as rows:
        found = await gateways.named(rows, call.path.name)
    items = [models.TargetView(name=one.id, kind=one.kind) for one in found.targets]
    return models.Targets(gateway=found.name, reachable=call.rooms.streams.sessions.any(found), items=items)


async def list_audit(call: Call[Nothing, models.ListAudit, Nothing]) -> models.AuditEntries:
    """List the audit log, the newest entry first."""
    sought = Sought(gateway=call.query.gateway, action=call.query.action, before=call.query.before)
    async with call.rooms.store.reading(call.scope) as rows:
        found = await audit.newest(rows, sought, limit=call.query.limit)
    return models.AuditEntries(items=[views.audit_entry(one) for one in found])


async def remove_gateway(call: Call[models.OneGateway, models.RemoveGateway, Nothing]) -> models.GatewayRemoved:
    """Remove a gateway, and forget its clusters if that is asked."""
    forgotten = await call.rooms.fleet.remove_gateway(
        call.scope, call.path.name, forget=call.query.forget, author=call.caller.user
    )
    async with call.rooms.store.reading(call.scope) as rows:
        names = await people.project_names(rows)
    return views.removed(call.path.name, forgotten, projects=names)


async def read_inventory(call: Call[models.OneGateway, Nothing, models.ReadInventoryOf]) -> models.CommandView:
    """Have a gateway read what a cloud account offers."""
    account = call.body.account
    command = await call.rooms.fleet.read_inventory(call.scope, call.path.name, account, author=call.caller.user)
    return views.command(command, projects={})


async def list_clusters(call: Call[models.InProject, Nothing, Nothing]) -> models.Clusters:
    """List the clusters of a project."""
    machines: defaultdict[UUID, list[Machine]] = defaultdict(list)
    async with call.rooms.store.reading(call.scope) as rows:
        found = await clusters.every(rows)
        for row in await clusters.every_machine(rows):
            machines[row.cluster].append(row.machine)
    name = call.project.name
    return models.Clusters(items=[views.summary(one, machines[one.id], project=name) for one in found])


async def show_cluster(call: Call[models.OneCluster, Nothing, Nothing]) -> models.ClusterView:
    """Show a cluster."""
    async with call.rooms.store.reading(call.scope) as rows:
        return await _shown(rows, await clusters.named(rows, call.path.name), call)


async def apply_cluster(call: Call[models.OneCluster, models.BoundToPlan, ClusterSpec]) -> models.ClusterWished:
    """Create a cluster or change it."""
    _refuse_other_name(call)
    wished = await call.rooms.fleet.apply_cluster(
        call.scope, call.project, call.body, author=call.caller.user, plan=call.query.plan
    )
    return await _wished(wished, call)


async def delete_cluster(call: Call[models.OneCluster, models.BoundToPlan, Nothing]) -> models.ClusterWished:
    """Delete a cluster."""
    wished = await call.rooms.fleet.delete_cluster(
        call.scope, call.path.name, author=call.caller.user, plan=call.query.plan
    )
    return await _wished(wished, call)


async def plan_cluster(call: Call[models.OneCluster, Nothing, ClusterSpec]) -> models.CommandView:
    """Have the gateway say what an apply would do; the command's result is the plan."""
    _refuse_other_name(call)
    command = await call.rooms.fleet.plan_apply(call.scope, call.project, call.body, author=call.caller.user)
    return views.command(command, projects={call.project.id: call.project.name})


async def plan_deletion(call: Call[models.OneCluster, Nothing, Nothing]) -> models.CommandView:
    """Have the gateway say what a delete would do; the command's result is the plan."""
    command = await call.rooms.fleet.plan_delete(call.scope, call.path.name, author=call.caller.user)
    return views.command(command, projects={call.project.id: call.project.name})


async def show_command(call: Call[models.OneCommand, Nothing, Nothing]) -> models.CommandView:
    """Show a command of the tenant."""
    async with call.rooms.store.reading(call.scope) as rows:
        found = await commands.get(rows, call.path.id)
        return views.command(found, projects=await people.project_names(rows))


async def cancel_command(call: Call[models.OneCommand, Nothing, Nothing]) -> models.CommandView:
    """Cancel a command: answered with it if no gateway had heard of it, else with the command that cancels it."""
    command = await call.rooms.fleet.cancel(call.scope, call.path.id, author=call.caller.user)
    return views.command(command, projects={})


async def pause_gateway(call: Call[models.OneGateway, Nothing, models.Pause]) -> models.CommandView:
    """Have a gateway begin nothing new; what runs goes on."""
    task = PauseCommands(on=call.body.on)
    command = await call.rooms.fleet.send(call.scope, call.path.name, task, author=call.caller.user)
    return views.command(command, projects={})


async def resume_gateway(call: Call[models.OneGateway, Nothing, models.Pause]) -> models.CommandView:
    """Have a gateway begin again what a pause has held."""
    task = ResumeCommands(on=call.body.on)
    command = await call.rooms.fleet.send(call.scope, call.path.name, task, author=call.caller.user)
    return views.command(command, projects={})


async def show_project_command(call: Call[models.OneProjectCommand, Nothing, Nothing]) -> models.CommandView:
    """Show a command of a project."""
    async with call.rooms.store.reading(call.scope) as rows:
        found = await commands.get(rows, call.path.id)
    return views.command(found, projects={call.project.id: call.project.name})


def _refuse_other_name(call: Call[models.OneCluster, Any, ClusterSpec]) -> None:
    if call.body.name == call.path.name:
        return
    message = f"the path says {call.path.name!r} and the body {call.body.name!r}: a cluster keeps its name"
    raise RequestInvalidError(f"the body is not valid: name: {message}", (Fault(where=["name"], message=message),))


async def _wished(wished: Wished, call: Call[models.OneCluster, Any, Any]) -> models.ClusterWished:
    command = views.command(wished.command, projects={call.project.id: call.project.name})
    if wished.cluster is None:
        return models.ClusterWished(command=command)
    async with call.rooms.store.reading(call.scope) as rows:
        machines = await clusters.machines_of(rows, wished.cluster.id)
    shown = views.cluster(wished.cluster, machines, command, project=call.project.name)
    return models.ClusterWished(command=command, cluster=shown)


async def _shown(rows: Within, cluster: Cluster, call: Call[models.OneCluster, Any, Any]) -> models.ClusterView:
    last = await commands.find(rows, cluster.last_command) if cluster.last_command else None
    command = views.command(last, projects={call.project.id: call.project.name}) if last else None
    machines = await clusters.machines_of(rows, cluster.id)
    return views.cluster(cluster, machines, command, project=call.project.name)
