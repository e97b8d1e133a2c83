"""This file is what commands act on, and what they do there: a script each, made of steps of every kind.

Effects outlast power cuts, and what was asked for comes to pass although nobody waits for it any more.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from gateway.commands import steps
from gateway.commands.entries import StepKind
from gateway.commands.steps import Declared, Probed, Seen
from gateway.commands.work import Step, Work
from gateway.contract.commands import Command
from gateway.kit.errors import GatewayError
from tests.simulation.disk import SimulatedDisk
from tests.simulation.power import Power

Place = tuple[UUID, str]


class BrokenError(GatewayError):
    """Something outside broke."""

    code = "test.broken"


@dataclass(frozen=True, slots=True)
class Planned:
    """A step of a script: how long it takes, whether it breaks, and whether its probe is blind."""

    name: str
    kind: StepKind
    seconds: float
    effect_at: float
    breaks: bool
    blind: bool


def script(command: Command, seed: int) -> list[list[Planned]]:
    """Return what a command does: groups of steps, the steps of a group side by side."""
    draw = random.Random(f"{seed}/{command.id}")
    return [
        [_planned(draw, f"{group}/{number}") for number in range(draw.choice((1, 1, 1, 2, 3)))]
        for group in range(draw.randint(1, 3))
    ]


def _planned(draw: random.Random, name: str) -> Planned:
    kind = draw.choice([StepKind.READ, StepKind.DESIRED_STATE, StepKind.KEYED, StepKind.ONCE, StepKind.ONCE])
    seconds = draw.choice((0.01, 0.3, 2.0, 30.0)) * draw.uniform(0.5, 1.5)
    return Planned(name, kind, seconds, draw.uniform(0.0, 1.2), draw.random() < 0.06, draw.random() < 0.2)


@dataclass(slots=True)
class World:
    """What outlasts every cut, beside the disk."""

    seed: int
    disk: SimulatedDisk
    once: Counter[Place] = field(default_factory=Counter)
    made: dict[Place, set[str]] = field(default_factory=dict)
    under_way: Counter[Place] = field(default_factory=Counter)
    acting: dict[str, Counter[UUID]] = field(default_factory=dict)
    acts: int = 0
    violations: list[str] = field(default_factory=list)
    keys: random.Random = field(default_factory=random.Random)

    async def carry_out(self, command: Command, work: Work, *, power: Power) -> None:
        for group in script(command, self.seed):
            async with asyncio.TaskGroup() as tasks:
                for planned in group:
                    tasks.create_task(self._step(planned, work, power))

    async def _step(self, planned: Planned, work: Work, power: Power) -> None:
        place = (work.command.id, planned.name)

        async def act(step: Step) -> None:
            with_key = step.key or ""
            await self._act(planned, work, power, with_key)

        async def probe(_: str | None) -> Probed:
            return await self._probe(place, planned)

        await work.carry_out(self._declared(planned, probe), act)

    def _declared(self, planned: Planned, probe: steps.Probe) -> Declared:
        match planned.kind:
            case StepKind.READ:
                return steps.reading(planned.name, "Look")
            case StepKind.DESIRED_STATE:
                return steps.bringing(planned.name, "Bring")
            case StepKind.KEYED:
                return steps.keyed(planned.name, "Make", key=f"key-{self.keys.randrange(10**9)}")
        return steps.once(planned.name, "Do once", probe=probe)

    async def _act(self, planned: Planned, work: Work, power: Power, key: str) -> None:
        place, resource = (work.command.id, planned.name), work.command.task.resource
        self._check(place, resource)
        active = self.acting.setdefault(resource, Counter())
        active[work.command.id] += 1
        try:
            await work.progress(planned.name, "going on", done=1)
            power.check()
            self._ask(place, planned, key)
            await asyncio.sleep(planned.seconds)
            await work.progress(planned.name, "nearly done", done=2)
            if planned.breaks:
                raise BrokenError("it broke")
            await self._settled(place)
            power.check()
        finally:
            active[work.command.id] -= 1

    def _ask(self, place: Place, planned: Planned, key: str) -> None:
        """Ask for the effect: from now on it comes, whoever is there to see it."""
        self.acts += 1
        if planned.kind is StepKind.KEYED:
            self.made.setdefault(place, set()).add(key)
        if planned.kind is StepKind.ONCE:
            self.under_way[place] += 1
            asyncio.get_running_loop().call_later(planned.seconds * planned.effect_at, self._happen, place)

    def _happen(self, place: Place) -> None:
        self.under_way[place] -= 1
        self.once[place] += 1
        if self.once[place] > 1:
            self.violations.append(f"{place} was done twice")

    async def _probe(self, place: Place, planned: Planned) -> Probed:
        await asyncio.sleep(0.05)
        if planned.blind:
            return Probed(Seen.UNKNOWN, "nothing can be seen")
        await self._settled(place)
        return Probed(Seen.DONE if self.once[place] else Seen.NOT_DONE)

    async def _settled(self, place: Place) -> None:
        """Wait until nothing that was asked for is still to come."""
        while self.under_way[place]:  # noqa: ASYNC110 - as one asks a vCenter for its task, now and then
            await asyncio.sleep(0.1)

    def _check(self, place: Place, resource: str) -> None:
        """The intent is on the disk, the command has not ended, and nobody else acts on its resource."""
        command, name = place
        mine = [one for one in self.disk.content.entries if one.command_id == command]
        began = [one.kind for one in mine if one.kind == "StepBegan" and f'"step": "{name}"' in one.body]
        done = [one.kind for one in mine if one.kind == "StepDone" and f'"step": "{name}"' in one.body]
        if not began:
            self.violations.append(f"{place} acts, and no intent is on the disk")
        if done:
            self.violations.append(f"{place} acts again after it was done")
        if any(one.kind == "Ended" for one in mine):
            self.violations.append(f"{place} acts after its command has ended")
        others = [one for one, count in self.acting.get(resource, Counter()).items() if count and one != command]
        if others:
            self.violations.append(f"{place} acts while {others} acts on {resource}")
        if self.once[place] or self.under_way[place]:
            self.violations.append(f"{place} is asked for twice")

    def power_was_cut(self) -> None:
        self.acting.clear()
