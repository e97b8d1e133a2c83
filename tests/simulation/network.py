"""This file is a network that cuts, delays and doubles, and lets connections go deaf without a word.

A connection is a stream of messages: on one, order holds until it breaks off. Messages are lost, doubled or overtaken
where connections are cut, go deaf, or overlap: an old one may still speak to the console when the next one does.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.tunnel.channel import ChannelClosedError
from tests.simulation.power import Power

CLOSED = None


@dataclass(slots=True)
class Weather:
    """How bad the network is: chances per message, and seconds."""

    deaf: float = 0.0
    cut: float = 0.0
    double: float = 0.0
    unreachable: float = 0.0
    slowest: float = 0.05


@dataclass(slots=True, eq=False)
class Half:
    """One direction: messages arrive in their order, some time later."""

    queue: "asyncio.Queue[Any]" = field(default_factory=asyncio.Queue)
    last: float = 0.0
    is_closed: bool = False

    def arrive(self, message: object, *, after: float) -> None:
        loop = asyncio.get_running_loop()
        self.last = max(self.last + 1e-6, loop.time() + after)
        loop.call_at(self.last, self.queue.put_nowait, message)


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, with an end at the appliance and one at the console."""

    draw: random.Random
    weather: Weather
    up: Half = field(default_factory=Half)
    down: Half = field(default_factory=Half)
    is_deaf: bool = False
    is_hung_up: bool = False

    def cut(self, *, linger: float = 0.0) -> None:
        """Break it off: the appliance knows at once, the console up to `linger` seconds later."""
        for half, after in ((self.down, 0.0), (self.up, self.draw.uniform(0.0, linger))):
            if not half.is_closed:
                half.is_closed = True
                half.arrive(CLOSED, after=after)

    def send(self, half: Half, message: object) -> None:
        if half.is_closed:
            raise ChannelClosedError("the connection was cut")
        dice = self.draw.random()
        if dice < self.weather.cut:
            self.cut(linger=20.0)
            return
        if dice < self.weather.cut + self.weather.deaf:
            self.is_deaf = True
        if not self.is_deaf:
            for _ in range(2 if self.draw.random() < self.weather.double else 1):
                half.arrive(message, after=self.draw.uniform(0.001, self.weather.slowest))

    def hang_up(self) -> None:
        """Close it at the console, which hears nothing more of what was sent on it."""
        self.cut()
        self.is_hung_up = True
        self.up.queue.put_nowait(CLOSED)

    async def receive(self, half: Half) -> Any:  # noqa: ANN401 - any message
        message = await half.queue.get()
        if message is CLOSED or (self.is_hung_up and half is self.up):
            half.queue.put_nowait(CLOSED)
            raise ChannelClosedError("the connection was cut")
        return message


@dataclass(slots=True)
class Network:
    """Carries calls of the appliance to `answer`."""

    draw: random.Random
    answer: Callable[[Connection], None]
    weather: Weather = field(default_factory=Weather)
    open: list[Connection] = field(default_factory=list)

    async def dial(self, power: Power) -> Connection:
        await asyncio.sleep(self.draw.uniform(0.01, 0.2))
        power.check()
        if self.draw.random() < self.weather.unreachable:
            raise ChannelClosedError("nobody answers")
        self.open = [one for one in self.open if not one.up.is_closed]
        self.open.append(connection := Connection(self.draw, self.weather))
        self.answer(connection)
        return connection

    def cut_all(self, *, linger: float = 60.0) -> None:
        for one in self.open:
            one.cut(linger=linger)
