"""This file is a real appliance's command channel at a real console, and the backups of both."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from gateway.appliance import pairing
from gateway.appliance.audit import AuditLog
from gateway.appliance.consoletime import ConsoleTime
from gateway.appliance.greeting import Greeter, Self
from gateway.appliance.identity import Identity
from gateway.appliance.lane import Lane
from gateway.appliance.link import Link
from gateway.appliance.outward import FirstRoads
from gateway.appliance.policy.gate import Gate
from gateway.appliance.policy.reading import of_profile
from gateway.appliance.recovering import Recovery
from gateway.appliance.renewal import Turnover
from gateway.appliance.sealed import Sealed
from gateway.audit import lines
from gateway.audit.lines import Act
from gateway.commands.executor import Executor
from gateway.commands.journal import Journal
from gateway.commands.work import Work
from gateway.contract.commands import Command
from gateway.contract.identity import Hardware
from gateway.contract.messages import Offers, Welcome
from gateway.contract.policy import Profile
from gateway.kit import files, supervise
from gateway.kit.clock import SystemClock
from tests.fakes.console import Console, cluster, running_console, token
from tests.unit.appliance.conversation import STRAIGHT

PATIENCE = 20.0


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what was waited for
    """Wait until something is the case at one of the two, which say it only when asked."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await condition()):  # noqa: ASYNC110 - what is waited for is asked of the console
            await asyncio.sleep(0.05)
    return found


@dataclass
class Pair:
    """A console's state directory, an appliance's, and what the appliance has run."""

    directory: Path
    runs: list[UUID] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def back_up(self) -> None:
        """Copy the console's database, which is not running."""
        shutil.copytree(self.directory / "console", self.directory / "backup", dirs_exist_ok=True)

    def restore(self) -> None:
        """Put the console's database back to the copy; its keys stay, as they would in another place."""
        for old in (self.directory / "console").glob("console.sqlite*"):
            old.unlink()
        for one in (self.directory / "backup").glob("console.sqlite*"):
            shutil.copy(one, self.directory / "console" / one.name)

    def told(self, action: str) -> list[Act]:
        """Return the lines of the appliance's audit log of that action."""
        found = [lines.parsed(line) for _, line in AuditLog(self.state, clock=SystemClock()).lines()]
        return [one.act for one in found if one is not None and one.act.action == action]

    @asynccontextmanager
    async def console(self) -> AsyncIterator[Console]:
        """Run the console; an appliance that is paired already calls where it listens now."""
        async with running_console(self.directory / "console") as console:
            identity = Identity.open(files.make_private_directory(self.state))
            if identity.joined() is None:
                await pairing.pair(identity, await token(console))
            else:
                identity._change(tunnel=console.reached.tunnel)
            yield console

    @asynccontextmanager
    async def appliance(self) -> AsyncIterator["Running"]:
        """Run the appliance's command channel, and its executor."""
        clock, identity = SystemClock(), Identity.open(self.state)
        async with Journal.open(self.state / "journal.db", clock=clock) as journal:
            known = identity.member()
            sealed = Sealed.open(self.state, gateway=known.gateway_id, device=identity.device(), clock=clock)
            append = AuditLog(self.state, clock=clock).append
            gate = Gate(self.state, journal, gateway=known.gateway_id, append=append, clock=clock)
            gate.kept.file.write(of_profile(Profile.OPERATE))
            time, itself = ConsoleTime(clock), Self(uuid4(), Hardware())
            lane = Lane(self.state, journal, identity, time=time, gate=gate, clock=clock)

            def welcomed(welcome: Welcome, *, asked: float) -> None:
                time.heard(welcome.server_time, asked=asked)

            async def handler(command: Command, work: Work) -> None:
                self.runs.append(command.id)

            link = Link(
                Greeter(identity, journal, itself),
                clock=clock,
                offers=lambda: Offers(accounts=["main"], targets=[], halted=lane.halt.read()),
                welcomed=welcomed,
                time=time,
                outward=STRAIGHT,
                turnover=Turnover(),
                recovery=Recovery(identity, itself, roads=FirstRoads, clock=clock),
                sealed=sealed,
                gate=gate,
                lane=lane,
            )
            executor = Executor(journal, gate.guarding(handler), clock=clock)
            async with supervise.running(executor=executor.run(), gate=gate.run(), link=link.run(first=0.05, cap=0.1)):
                yield Running(self, journal, lane, link)


@dataclass
class Running:
    """An appliance that runs."""

    pair: Pair
    journal: Journal
    lane: Lane
    link: Link


async def state_of(console: Console, command: str) -> str:
    said = await console.ask("GET", f"/api/v1/commands/{command}")
    return str(said.body.get("state"))


async def ended(console: Console, command: str) -> str:
    """Wait until a command has ended and return how."""

    async def so() -> str | None:
        found = await state_of(console, command)
        return found if found not in {"pending", "accepted", "running"} else None

    return str(await until(so))


async def wished(console: Console, name: str, *, workers: int = 2) -> str:
    """Wish for a cluster and return the id of the command."""

    said = await console.put(cluster(name, workers=workers))
    assert said.status in {200, 201, 202}, said
    return str(said.body["command"]["id"])


async def conditions(console: Console) -> dict[str, Any]:
    """Return the conditions of the gateway by their types."""
    shown = (await console.ask("GET", "/api/v1/gateways/dc1")).body
    return {one["type"]: one for one in shown["conditions"]}
