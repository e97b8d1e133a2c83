"""This file is one seed, one run: an appliance's journal, executor, inbox and outbox through every kind of bad luck.

::

    luck    power cuts (at a moment; before or after a flush), stops, networks that cut, go deaf and double,
            disks that fail, fill up and tear, consoles that are restarted, and put back to an older backup
    calm    everything works again; within an hour all has ended, and the console knows all of it
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from gateway.commands.executor import Executor
from gateway.commands.inbox import Inbox
from gateway.commands.journal import Journal
from gateway.commands.outbox import Outbox
from gateway.commands.work import Work
from gateway.contract.commands import (
    ApplyCluster,
    CancelCommand,
    Command,
    DeleteCluster,
    PauseCommands,
    ReadInventory,
    ResumeCommands,
    Task,
)
from gateway.contract.messages import Accepted, Acknowledge, Deliver, Hello, ReportEvents, Welcome
from gateway.contract.version import PROTOCOL
from gateway.kit import supervise
from gateway.tunnel.channel import ChannelClosedError
from tests.fakes.wishes import PLACEMENT, a_cluster
from tests.simulation import loop, promises
from tests.simulation.console import Kept, ModelConsole
from tests.simulation.disk import GIB, SimulatedDisk
from tests.simulation.loop import START, VirtualClock
from tests.simulation.network import Connection, Network, Weather
from tests.simulation.power import Power, PowerCutError
from tests.simulation.world import World

SPEC = a_cluster()
CALM = Weather()
PATIENCE = 5_000.0
"""Seconds of calm after which whatever has not ended never will."""


@dataclass
class Simulation:
    """One world with one appliance and one console."""

    seed: int
    draw: random.Random = field(init=False)
    clock: VirtualClock = field(default_factory=VirtualClock)
    console: ModelConsole = field(init=False)
    power: Power = field(init=False)
    is_calm: bool = False
    cuts: int = 0
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.power = Power()
        self.console = ModelConsole()
        self.disk = SimulatedDisk(random.Random(f"{self.seed}/disk"), self.power)
        self.world = World(self.seed, self.disk, keys=random.Random(f"{self.seed}/keys"))
        self.network = Network(random.Random(f"{self.seed}/network"), self._answered)

    async def run(self) -> None:
        """Live through bad luck, then through calm, and check every promise."""
        async with asyncio.TaskGroup() as self._tasks:
            appliance = self._tasks.create_task(self._appliance())
            await self._user_and_luck()
            await self._until_all_is_told()
            appliance.cancel()
            self.network.cut_all(linger=0.0)
        self.violations += self.world.violations
        self.violations += [f"{place} was made as {keys}" for place, keys in self.world.made.items() if len(keys) > 1]
        self.violations += promises.broken(self.console.kept, self.disk, accepted=self.console.accepted)

    # -- the appliance ------------------------------------------------------------------------------------------

    async def _appliance(self) -> None:
        while True:
            flushes = None if self.is_calm or self.draw.random() < 0.5 else self.draw.randint(1, 60)
            self.power = self.disk.power = Power(flushes=flushes)
            await self._one_life()
            self.network.cut_all()
            self.world.power_was_cut()
            if not self.power.is_on:
                self.cuts += 1
                self.disk.lose_power()
            await asyncio.sleep(self.draw.choice((0.01, 1.0, 40.0)))

    async def _one_life(self) -> None:
        try:
            async with self._living(self.power):
                await self.power.gone.wait()
                raise PowerCutError
        except PowerCutError:
            pass
        except BaseExceptionGroup as several:
            if self.power.is_on:
                raise
            if several.subgroup(AssertionError) is not None:
                raise

    @asynccontextmanager
    async def _living(self, power: Power) -> AsyncIterator[None]:
        async with Journal.over(self.disk, clock=self.clock) as journal:

            async def handler(command: Command, work: Work) -> None:
                await self.world.carry_out(command, work, power=power)

            executor = Executor(journal, handler, clock=self.clock)
            async with supervise.running(
                executor=executor.run(), link=self._link(journal, power), compaction=self._compact(journal)
            ):
                yield

    async def _link(self, journal: Journal, power: Power) -> None:
        while True:
            try:
                await self._call(journal, power)
            except* ChannelClosedError:
                pass
            await asyncio.sleep(self.draw.uniform(0.1, 5.0))

    async def _call(self, journal: Journal, power: Power) -> None:
        connection = await self.network.dial(power)
        try:
            hello = Hello(protocol=PROTOCOL, software="0", boot_id=UUID(int=2), next_event=journal.last_event + 1)
            connection.send(connection.up, hello)
            async with asyncio.timeout(20):
                welcome = await connection.receive(connection.down)
            if not isinstance(welcome, Welcome):
                raise ChannelClosedError("no welcome")
            await journal.acknowledge(welcome.acknowledged)
            async with supervise.running(report=self._report(journal, connection, welcome.acknowledged)):
                await self._take(journal, connection, power)
        except TimeoutError as fault:
            raise ChannelClosedError("nobody speaks") from fault
        finally:
            connection.cut(linger=30.0)

    async def _take(self, journal: Journal, connection: Connection, power: Power) -> None:
        inbox = Inbox(journal, PROTOCOL)
        while True:
            async with asyncio.timeout(300):
                message = await connection.receive(connection.down)
            match message:
                case Deliver():
                    answer = await inbox.take(message)
                    power.check()
                    self._check_kept(answer)
                    connection.send(connection.up, answer)
                case Acknowledge(number=number):
                    await journal.acknowledge(number)

    def _check_kept(self, answer: object) -> None:
        if isinstance(answer, Accepted):
            kept = any(
                one.command_id == answer.command_id and one.kind == "Accepted" for one in self.disk.content.entries
            )
            if not kept:
                self.violations.append(f"{answer.command_id} was accepted, and is not on the disk")

    async def _report(self, journal: Journal, connection: Connection, after: int) -> None:
        outbox = Outbox(journal, after=after)
        while True:
            connection.send(connection.up, ReportEvents(events=await outbox.next_batch()))

    async def _compact(self, journal: Journal) -> None:
        while True:
            await self.clock.sleep(3600.0)
            await journal.compact()

    def _answered(self, connection: Connection) -> None:
        self._tasks.create_task(self.console.serve(connection))

    # -- whoever wishes, and luck -------------------------------------------------------------------------------

    async def _user_and_luck(self) -> None:
        self.network.weather = self._weather()
        backup: Kept | None = None
        for _ in range(self.draw.randint(4, 14)):
            await asyncio.sleep(self.draw.choice((0.0, 0.05, 1.0, 15.0)) * self.draw.random())
            match self.draw.randrange(16):
                case 0 | 1:
                    self.power.cut()
                case 2:
                    self.network.cut_all()
                case 3:
                    self.network.weather = self._weather()
                case 4:
                    self.disk.faults = self.draw.choice((0, 0, 5, 30))
                case 5:
                    self.disk.free = self.draw.choice((GIB, GIB, 100 << 20, 500))
                case 6:
                    backup = self.console.backup()
                case 7 if backup is not None:
                    self._put_back(backup)
                    backup = None
                case _:
                    self._wish()
        self._be_calm()

    def _weather(self) -> Weather:
        if self.draw.random() < 0.3:
            return Weather(slowest=2.0)
        return Weather(
            deaf=self.draw.choice((0.0, 0.02, 0.1)),
            cut=self.draw.choice((0.0, 0.02, 0.1)),
            double=self.draw.choice((0.0, 0.2)),
            unreachable=self.draw.choice((0.0, 0.3)),
            slowest=self.draw.choice((0.01, 0.1, 5.0)),
        )

    def _put_back(self, backup: Kept) -> None:
        """Put the console back; wishes since then are made again, for whoever made them does so."""
        lost = [one.command for one in self.console.kept.commands.values() if one.id not in backup.commands]
        self.network.cut_all(linger=0.0)
        self.console.restore(backup)
        for command in lost:
            self.console.wish(command)

    def _be_calm(self) -> None:
        self.is_calm = True
        self.network.weather = CALM
        self.disk.faults, self.disk.free = 0, GIB
        self.power.cut()
        self.network.cut_all(linger=0.0)
        self._ask(ResumeCommands())

    def _wish(self) -> None:
        cluster = UUID(int=self.draw.randint(10, 12))
        asked = list(self.console.kept.commands)
        on = f"cluster/{cluster}" if self.draw.random() < 0.5 else None
        match self.draw.randrange(10):
            case 0 | 1:
                self._ask(DeleteCluster(cluster_id=cluster, name="demo", cloud=PLACEMENT))
            case 2:
                self._ask(ReadInventory(account="main"))
            case 3 | 4 if asked:
                self._ask(CancelCommand(command_id=self.draw.choice(asked)))
            case 5:
                self._ask(PauseCommands(on=on))
            case 6:
                self._ask(ResumeCommands(on=on))
            case _:
                for _ in range(self.draw.choice((1, 1, 3))):
                    self._ask(ApplyCluster(cluster_id=cluster, spec=SPEC))
                if self.draw.random() < 0.3:  # just when it may begin
                    self._ask(PauseCommands(on=on))

    def _ask(self, task: Task) -> None:
        command_id = UUID(int=self.draw.getrandbits(128), version=4)
        limit = self.draw.choice((20, 600))
        self.console.wish(Command(id=command_id, task=task, author="test", created_at=START, time_limit=limit))

    async def _until_all_is_told(self) -> None:
        until = self.clock.monotonic() + PATIENCE
        while self.clock.monotonic() < until:
            kept = self.console.kept
            disk = self.disk.content
            if self.console.all_ended and kept.acknowledged == disk.last_event == disk.acknowledged:
                return
            await asyncio.sleep(1.0)
        open_now = [str(one.id) for one in self.console.kept.commands.values() if not one.state.has_ended]
        self.violations.append(f"after {PATIENCE:.0f} s of calm these have not ended, or were not told: {open_now}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a seed."""

    seed: int
    violations: list[str]
    commands: int
    acts: int
    cuts: int
    flushes: int
    trace: int


def one_seed(seed: int) -> Outcome:
    """Run one seed. The trace is the same whenever the run is."""
    simulation = Simulation.__new__(Simulation)

    async def main() -> None:
        simulation.__init__(seed)  # type: ignore[misc]  # its parts want a loop that runs
        await simulation.run()

    try:
        loop.run(main())
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is told with its seed
        simulation.violations.append(f"{type(fault).__name__}: {fault}")
    told = "".join(f"{one.number}{one.command_id}{one.body.type}" for one in simulation.console.kept.events)
    return Outcome(
        seed,
        simulation.violations,
        len(simulation.console.kept.commands),
        simulation.world.acts,
        simulation.cuts,
        simulation.disk.flushes,
        promises.fingerprint(told),
    )
