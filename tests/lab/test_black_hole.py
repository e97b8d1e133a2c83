"""This file is an MTU black hole made of two network namespaces: large packets vanish, and nobody is told."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from gateway.appliance.doctor import measures, verdicts
from gateway.appliance.doctor.subject import Place
from gateway.identity import tls
from tests.fakes.ends import Ends
from tests.lab.namespaces import RoadFrom, inside, ip

pytestmark = pytest.mark.lab

NEAR, FAR = f"doctor-near-{os.getpid()}", f"doctor-far-{os.getpid()}"


@pytest.fixture
def black_hole() -> Iterator[None]:
    """Join two namespaces by a link that loses what is over 900 bytes, and have the far end say that it takes 1500."""
    try:
        for name in (NEAR, FAR):
            ip("netns", "add", name)
        ip("link", "add", "near", "netns", NEAR, "type", "veth", "peer", "name", "far", "netns", FAR)
        for name, link, address, mtu in ((NEAR, "near", "10.211.0.1", "1500"), (FAR, "far", "10.211.0.2", "900")):
            ip("-n", name, "address", "add", f"{address}/24", "dev", link)
            # Without segments of its own making the link would carry what the kernel has yet to cut up.
            ip("-n", name, "link", "set", link, "mtu", mtu, "gso_max_segs", "1", "up")
        ip("-n", FAR, "route", "replace", "10.211.0.1/32", "dev", "far", "advmss", "1460")
        yield
    finally:
        for name in (NEAR, FAR):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


async def test_a_black_hole_is_found_by_the_size_from_which_nothing_comes_back(
    tmp_path: Path, black_hole: None
) -> None:
    ends = Ends(tmp_path)
    context = tls.client(ends.authority.root)
    context.check_hostname = False

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    with inside(FAR):
        listener = socket.create_server(("10.211.0.2", 0))
    subprotocols = [measures.SUBPROTOCOL]
    async with serve(echo, sock=listener, ssl=ends.open_server, subprotocols=subprotocols):  # type: ignore[arg-type]
        place = Place("10.211.0.2", listener.getsockname()[1])
        async with measures.echoing(RoadFrom(NEAR), place, context) as opened:
            kernel = measures.kernel_mtu(opened)
            found = await measures.sizes(opened, answer=2.0)
    seen = verdicts.mtu(found.passed, found.lost, cut=found.cut, kernel=kernel)
    assert (found.passed, found.lost, kernel) == ([1], 1400, 1500)
    assert seen.finding.code == "mtu.black_hole"
