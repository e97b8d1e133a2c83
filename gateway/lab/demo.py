"""This file is `pcg demo`: the whole product on this machine, from nothing to a cluster, shown step by step."""

import asyncio
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gateway.kit import files, supervise
from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError
from gateway.lab import labs, prerequisites, site
from gateway.lab.site import Site

CLUSTER = "demo"
WORKERS = 2
TARGET = "ssh"
REACH_LIMIT = 30.0


class DemoFailedError(GatewayError):
    """The demo did not come to its end."""

    code = "demo.failed"


def demo(
    once: Annotated[bool, typer.Option("--once", help="remove everything again and exit; for scripts")] = False,
) -> None:
    """Show it all: a data centre, a console, an appliance, and a cluster of three machines."""
    prerequisites.check()
    asyncio.run(_demo(once=once))


async def _demo(*, once: bool) -> None:
    console = Console()
    await labs.sweep()
    async with AsyncExitStack() as stack:
        with _timed(console, "The data centre: vCenter (simulated), a network of its own, real machines"):
            lab = await stack.enter_async_context(labs.up("demo", say=lambda words: console.print(f"   {words}")))
        # Below the lab's own directory: what a crash leaves there goes with what it leaves of the lab.
        place = Site(lab, files.make_private_directory(lab.directory.path / "site"))
        try:
            await _set_up(place, console)
            await _cluster(place, console)
            await _reach(place, console)
            if once:
                await _remove(place, console)
            else:
                _explain(place, console)
                await supervise.until_asked_to_stop()
        finally:
            await place.appliance.stop()
            await place.console.stop()
    console.print("demo: ok")


async def _set_up(place: Site, console: Console) -> None:
    with _timed(console, f"The console, outside of the data centre: {place.url}"):
        await place.console.start()
        await place.log_in()
    with _timed(console, "The appliance, inside: given a policy and a registration token, nothing else"):
        await place.let_operate()
        await place.make_token()
        await place.appliance.start()
        await place.until_connected()
    with _timed(console, f"pcg account create vsphere {site.ACCOUNT}: sealed outside, opened inside only"):
        await place.create_account()
    console.print(await place.must("gateway", "list"))
    console.print(await place.must("gateway", "inventory", site.GATEWAY, "--account", site.ACCOUNT))


async def _cluster(place: Site, console: Console) -> None:
    file = place.directory / "cluster.yaml"
    await asyncio.to_thread(file.write_text, site.cluster_file(place.lab, CLUSTER, workers=WORKERS))
    with _timed(console, f"pcg cluster apply -f {file}"):
        await _shown(place, "cluster", "apply", "-f", str(file))


async def _reach(place: Site, console: Console) -> None:
    """Say hello to a machine's SSH server, from outside, through the console and the appliance."""
    shown = json.loads(await place.must("cluster", "show", CLUSTER, "--output", "json"))
    machine = next(one for one in shown["machines"] if one["address"])
    with _timed(console, f"pcg tunnel forward {site.GATEWAY} {TARGET}: {machine['name']}'s SSH, from outside"):
        await place.offer_target(TARGET, machine["address"], 22)
        async with place.forwarding(TARGET) as port, asyncio.timeout(REACH_LIMIT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            greeting = (await reader.readline()).decode(errors="replace").strip()
            writer.close()
            await writer.wait_closed()
        if not greeting.startswith("SSH-"):
            raise DemoFailedError(f"127.0.0.1:{port} does not lead to the machine's SSH: it says {greeting!r}")
        console.print(f"   127.0.0.1:{port} answers {greeting}", highlight=False)
    console.print(await place.must("audit", "list", "--limit", "2"))


async def _remove(place: Site, console: Console) -> None:
    with _timed(console, f"pcg cluster delete {CLUSTER}"):
        await _shown(place, "cluster", "delete", CLUSTER, "--yes")
    left = [machine.name for machine in place.lab.machines()]
    if left:
        raise DemoFailedError(f"machines are left in vCenter: {', '.join(left)}")


async def _shown(place: Site, *arguments: str) -> None:
    """Run a `pcg` command on this terminal."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli", *arguments, env=place.environment | _terminal()
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if code:
        raise DemoFailedError(f"pcg {' '.join(arguments[:2])} ended with {code}; logs are in {place.directory}")


def _terminal() -> dict[str, str]:
    size = shutil.get_terminal_size((160, 40))
    return {"TERM": "xterm-256color", "COLUMNS": str(size.columns), "LINES": str(size.lines)}


def _explain(place: Site, console: Console) -> None:
    pcg = Path(sys.executable).with_name("pcg")
    console.rule("It is all there. Try, in another terminal:")
    console.print(
        f"""
  export PCG_CONFIG={place.environment["PCG_CONFIG"]} PATH={pcg.parent}:$PATH
  pcg cluster list                    pcg cluster show {CLUSTER}
  pcg gateway list                    pcg gateway inventory {site.GATEWAY} --account {site.ACCOUNT}
  pcg tunnel forward {site.GATEWAY} {TARGET} 2222        a port that leads to a machine's SSH; then pcg audit list
  pcg lab status --name demo          the machines as the hypervisor sees them
  $EDITOR {place.directory}/cluster.yaml && pcg cluster apply -f {place.directory}/cluster.yaml

  console API     {place.url}/api/v1/openapi.json  (key in {place.directory}/console/admin.key)
  vCenter         https://{place.lab.outside_vcenter_host}  user {place.lab.user}
                  password in {place.lab.directory.password}
  logs            {place.directory}/console.log  {place.directory}/appliance.log

Ctrl-C ends it and leaves nothing behind.
""",
        highlight=False,
        soft_wrap=True,
    )


@contextmanager
def _timed(console: Console, title: str) -> Iterator[None]:
    clock = SystemClock()
    began = clock.monotonic()
    console.print(f"[bold]== {title}[/bold]", highlight=False)
    yield
    console.print(f"   [green]done[/green] in {clock.monotonic() - began:.1f} s\n", highlight=False)
