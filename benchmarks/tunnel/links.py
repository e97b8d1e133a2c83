"""This file is a link that is slow or long: console and appliance in network namespaces of their own.

A namespace is held by a sleeping process and goes with it; no interface is ever seen outside of them.

    console [road] ---veth--- [road] appliance                    rate: tc's tbf at both ends
    console [road] --- [console] delay line [appliance] --- [road] appliance     delay, or silence
"""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.tunnel.processes import Place, Processes, processes
from benchmarks.tunnel.roads import Site
from benchmarks.tunnel.tools import Tools

CONSOLE, APPLIANCE = "10.231.0.1", "10.231.0.2"


@dataclass(frozen=True)
class Link:
    """What lies between: a rate for tbf (None: as fast as the machine), and a delay each way."""

    name: str
    rate: str | None = None
    burst: str = "32kb"
    queue: str = "100ms"
    delay_ms: float | None = None


LINKS = (
    Link("100 Mbit/s", rate="100mbit", burst="128kb"),
    Link("10 Mbit/s", rate="10mbit"),
    Link("50 ms", delay_ms=25.0),
)


@dataclass(frozen=True)
class Linked:
    """A link that is there."""

    site: Site
    line: Processes

    def fall_silent(self) -> None:
        """Lose every packet from now on, both ways, without a word to either end."""
        for program in self.line.running:
            program.send_signal(signal.SIGSTOP)


@contextmanager
def linked(link: Link, tools: Tools) -> Iterator[Linked]:
    """Have both namespaces and the link for the body."""
    with ExitStack() as stack:
        console, appliance = (stack.enter_context(_namespace(tools, name)) for name in (CONSOLE, APPLIANCE))
        line = stack.enter_context(processes(tools.directory / "delay-line.log"))
        if link.delay_ms is None:
            _inside(console, f"ip link add road type veth peer name road netns {appliance.namespace_of}")
        else:
            between = stack.enter_context(_namespace(tools, "between"))
            for name, place in (("console", console), ("appliance", appliance)):
                _inside(place, f"ip link add road type veth peer name {name} netns {between.namespace_of}")
                _inside(between, f"ip link set {name} up")
            line.start(between, [tools.built("delay_line"), "console", "appliance", str(link.delay_ms)])
        for place in (console, appliance):
            _inside(place, f"ip address add {place.address}/24 dev road")
            _inside(place, "ip link set road up")
            if link.rate is not None:
                _inside(
                    place,
                    f"tc qdisc replace dev road root tbf rate {link.rate} burst {link.burst} latency {link.queue}",
                )
        yield Linked(Site(tools, console, appliance), line)


@contextmanager
def _namespace(tools: Tools, name: str) -> Iterator[Place]:
    with processes(tools.directory / "namespaces.log") as holder:
        holder.start(Place(), ["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"])
        place = Place(name, holder.running[0].pid)
        subprocess.run(["sleep", "0.2"], check=True)
        yield place


def _inside(place: Place, command: str) -> None:
    subprocess.run(place.command(command.split()), check=True)
