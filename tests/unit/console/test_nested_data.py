"""This file is streams to targets on a road inside a WebSocket, through a whole console."""

from pathlib import Path

from gateway.appliance.outward import nested_url
from gateway.contract.streams import SESSION_PARAMETER
from gateway.tunnel.dataline import dial_data
from gateway.tunnel.nested import Nested
from gateway.tunnel.roads import Direct
from tests.fakes.console import paired_appliance, running_console, trust
from tests.fakes.targets import data_of, exchanged, reach, tunnel
from tests.unit.console.reaching import reachable


async def test_a_stream_reaches_its_target_inside_a_websocket(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    async with running_console(tmp_path / "console") as console:
        data = await data_of(await paired_appliance(console), "web")
        url = f"{data.appliance.paired.tunnel}?{SESSION_PARAMETER}={data.id}"
        async with (
            Nested(nested_url(console.reached.api), trust(console.settings), Direct()) as road,
            dial_data(url, tls=data.appliance.tls, road=road, on_stream=data.on_stream),
            tunnel(console) as session,
        ):
            await reachable(console)
            stream, reply = await reach(session)
            assert reply.status == "ok"
            assert await exchanged(stream, content) == content
