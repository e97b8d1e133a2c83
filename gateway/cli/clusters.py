"""This file is `pcg cluster`: wish for clusters, look at them, watch them, remove them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli import arguments, asking, clusterfile, tables, watching
from gateway.cli.arguments import ClusterName, InputInvalidError, PlanOption, TimeoutOption, YesOption, bound, path
from gateway.cli.client import Client
from gateway.cli.options import OutputOption, told, with_client
from gateway.cli.tables import Output
from gateway.cli.watching import Patience
from gateway.console.api.models import Clusters, ClusterView, ClusterWished, CommandView

app = typer.Typer(help="Clusters: wish for them, watch them, remove them.", no_args_is_help=True)

DeleteOption = Annotated[str | None, typer.Option("--delete", metavar="NAME", help="a cluster that would be deleted")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="wait until it is done, showing progress")]


@app.command("plan")
def plan(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="cluster file, YAML; docs/clusters.md describes it")
    ] = None,
    delete: DeleteOption = None,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what an apply (-f) or a delete (--delete) would do, and change nothing.

    The gateway looks at what is there. Marks: + is made, ~ is changed, - is removed, -/+ is made anew. The last line is
    the plan's hash: with --plan HASH apply and delete do that plan or nothing.
    """
    with told(output):
        if (file is None) == (delete is None):
            raise InputInvalidError("say either -f FILE, to apply, or --delete NAME")
        spec = clusterfile.read(file) if file is not None else None
        cluster = spec.name if spec is not None else arguments.name(delete or "")

    async def work(client: Client) -> None:
        where = path("projects", client.project, "clusters", cluster, "plan" if spec else "deletion-plan")
        command = await client.ask("POST", where, CommandView, body=spec)
        await watching.say_if_waiting(client, command.gateway)
        patience = Patience(timeout, f"`pcg command show {command.id} -o json` has the plan once it is made")
        ended = await watching.result(client, command, patience=patience)
        if ended.plan is not None:
            tables.show(ended.plan, tables.plan(ended.plan), output)

    with_client(work, output=output)


@app.command("apply")
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="cluster file, YAML; docs/clusters.md describes it")],
    plan: PlanOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a cluster, or change it to what its file says. The plan is shown before anything is done.

    With --output json: one line of JSON for each event, and a last one that is the cluster; with --no-wait one
    document, the command and the cluster.
    """
    with told(output):
        spec = clusterfile.read(file)

    async def work(client: Client) -> None:
        where = path("projects", client.project, "clusters", spec.name)
        wished = await client.ask("PUT", bound(where, plan), ClusterWished, body=spec)
        await watching.say_if_waiting(client, wished.command.gateway)
        if not wait:
            tables.show(wished, Text(f"Cluster {spec.name}: command {wished.command.id} is on its way."), output)
            return
        patience = Patience(timeout, f"`pcg cluster watch {spec.name}` shows it")
        title = f"Applying cluster {spec.name}"
        await watching.until_ended(client, wished.command, title=title, output=output, patience=patience)
        view = await client.ask("GET", where, ClusterView)
        tables.show_last(view, tables.cluster(view), output)

    with_client(work, output=output)


@app.command("list")
def list_clusters(output: OutputOption = Output.TABLE) -> None:
    """List the project's clusters."""

    async def work(client: Client) -> None:
        found = await client.ask("GET", path("projects", client.project, "clusters"), Clusters)
        tables.show(found, tables.clusters(found.items), output)

    with_client(work, output=output)


@app.command("show")
def show(name: ClusterName, output: OutputOption = Output.TABLE) -> None:
    """Show a cluster and its machines."""

    async def work(client: Client) -> None:
        view = await client.ask("GET", path("projects", client.project, "clusters", name), ClusterView)
        tables.show(view, tables.cluster(view), output)

    with_client(work, output=output)


@app.command("watch")
def watch(name: ClusterName, output: OutputOption = Output.TABLE) -> None:
    """Watch what happens to a cluster, from its last command on, until interrupted."""

    async def work(client: Client) -> None:
        view = await client.ask("GET", path("projects", client.project, "clusters", name), ClusterView)
        await watching.for_ever(client, view, output=output)

    with_client(work, output=output)


@app.command("delete")
def delete(
    name: ClusterName,
    plan: PlanOption = None,
    yes: YesOption = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove a cluster with all its machines and their disks.

    With --output json: one line of JSON for each event, and a last one that is the command; with --no-wait one
    document, the command and the cluster.
    """
    with told(output):
        asking.confirm_removal(f"Remove cluster {name} with all its machines and their disks?", yes=yes)

    async def work(client: Client) -> None:
        where = bound(path("projects", client.project, "clusters", name), plan)
        wished = await client.ask("DELETE", where, ClusterWished)
        command = wished.command
        if wished.cluster is None:
            tables.show_last(command, Text(f"Cluster {name} is removed: no gateway had heard of it."), output)
            return
        await watching.say_if_waiting(client, command.gateway)
        if not wait:
            tables.show(wished, Text(f"Cluster {name} is being removed."), output)
            return
        patience = Patience(timeout, f"`pcg cluster watch {name}` shows it")
        title = f"Removing cluster {name}"
        await watching.until_ended(client, command, title=title, output=output, patience=patience)
        ended = await client.ask("GET", path("projects", client.project, "commands", str(command.id)), CommandView)
        tables.show_last(ended, Text(f"Cluster {name} is removed."), output)

    with_client(work, output=output)
