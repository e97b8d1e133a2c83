"""This file is `pcg audit`: who did what."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

import typer

from gateway.cli import evidence, tables
from gateway.cli.arguments import name
from gateway.cli.client import Client
from gateway.cli.options import OutputOption, with_client
from gateway.cli.tables import Output
from gateway.console.api.models import AuditEntries, AuditEntryView

app = typer.Typer(help="The audit log: who did what, and the proof of it.", no_args_is_help=True)
app.command("export")(evidence.export)
app.command("verify")(evidence.verify)


@app.command("list")
def list_entries(
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway",
            help="only what concerns this gateway",
            callback=lambda text: text if text is None else name(text),
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="how many entries at most")] = 50,
    before: Annotated[
        UUID | None, typer.Option("--before", metavar="ID", help="only entries older than this one: the next page")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the audit log, the newest entry first. A stream that began and never ended was cut with the console."""
    query = {"limit": str(limit), "gateway": gateway, "before": str(before) if before else None}
    chosen = urlencode({key: value for key, value in query.items() if value is not None})

    async def work(client: Client) -> None:
        found = await client.ask("GET", f"/audit?{chosen}", AuditEntries)
        older = _older(found.items, gateway) if len(found.items) == limit else None
        tables.show(found, tables.audit(found.items, older=older), output)

    with_client(work, output=output)


def _older(shown: list[AuditEntryView], gateway: str | None) -> str:
    narrowed = f" --gateway {gateway}" if gateway else ""
    return f"pcg audit list{narrowed} --before {shown[-1].id}"
