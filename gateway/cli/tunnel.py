"""This file is `pcg tunnel`: what a gateway offers streams to, and a local port that leads there."""

import socket
from typing import Annotated

import typer

from gateway.cli import forwarding, session, tables, telling
from gateway.cli.arguments import GatewayName, TargetName, path
from gateway.cli.client import Client
from gateway.cli.forwarding import Forwarding
from gateway.cli.options import OutputOption, told, with_client
from gateway.cli.road import Road
from gateway.cli.session import Session
from gateway.cli.tables import Output
from gateway.cli.telling import Lines
from gateway.console.api.models import Targets
from gateway.console.errors import TargetUnknownError
from gateway.contract.streams import UserPreamble
from gateway.identity import tls
from gateway.kit import loops, supervise
from gateway.kit.clock import SystemClock
from gateway.tunnel.dataline import dial_data
from gateway.tunnel.schedule import Lane

PATH = "/api/v1/tunnel"

app = typer.Typer(help="Streams to what a gateway offers, through the console.", no_args_is_help=True)

LaneOption = Annotated[
    Lane,
    typer.Option(
        "--lane",
        help="what the connections are for: interactive goes before bulk; auto tells them apart by what they do",
    ),
]


@app.command("targets")
def targets(gateway: GatewayName, output: OutputOption = Output.TABLE) -> None:
    """List what a gateway offers streams to."""

    async def work(client: Client) -> None:
        found = await client.ask("GET", path("gateways", gateway, "targets"), Targets)
        tables.show(found, tables.targets(found), output)

    with_client(work, output=output)


@app.command("forward")
def forward(
    gateway: GatewayName,
    target: TargetName,
    local_port: Annotated[
        int, typer.Argument(min=0, max=65535, help="port on 127.0.0.1; a free one is taken when it is left out")
    ] = 0,
    lane: LaneOption = Lane.AUTO,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have connections to a local port reach a target, until Ctrl-C.

    With --output json: one line of JSON for each event.
    """
    wish = UserPreamble(gateway=gateway, target=target, lane=lane.value)
    with told(output):
        loops.run(_forward(session.read(), wish, local_port, output))


async def _forward(signed_in: Session, wish: UserPreamble, port: int, output: Output) -> None:
    async with Client.open(signed_in) as client:
        await _offered(client, wish)
        with forwarding.listening(port) as listener:
            await _until_stopped(signed_in, client, listener, telling.teller(wish, output, SystemClock()))


async def _until_stopped(signed_in: Session, client: Client, listener: socket.socket, teller: Lines) -> None:
    clock = SystemClock()
    url = signed_in.url.replace("https://", "wss://", 1) + PATH
    trust = tls.client(signed_in.trust)
    headers = {"Authorization": f"Bearer {signed_in.key.get_secret_value()}"}
    road = Road(
        dial=lambda: dial_data(url, tls=trust, headers=headers),
        check=lambda: _offered(client, teller.wish),
        watcher=teller,
        clock=clock,
    )
    connections = Forwarding(teller.wish, road, teller, clock)
    async with supervise.running(tunnel=road.run(), port=connections.run(listener)):
        await supervise.until_asked_to_stop()
    teller.summary()


async def _offered(client: Client, wish: UserPreamble) -> None:
    """Ask whether there is such a target. Raises AnsweredError, ConsoleUnreachableError or TargetUnknownError."""
    found = await client.ask("GET", path("gateways", wish.gateway, "targets"), Targets)
    names = sorted(one.name for one in found.items)
    if wish.target not in names:
        raise TargetUnknownError(
            f"gateway {wish.gateway} offers no target {wish.target}; it offers: {', '.join(names) or 'none'}"
        )
