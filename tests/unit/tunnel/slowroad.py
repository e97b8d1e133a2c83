"""This file is a road between two mux ends that takes its time: so many bytes a second, and a delay each way.

Nothing on it ever says that it is full: it is a middle box with a buffer that has no end, where queues grow unseen.
"""

from collections import deque

from tests.unit.tunnel.model import End, Pair


class SlowRoad:
    """Turn by turn, both ends send what they have; each has a lane of its own."""

    def __init__(self, pair: Pair, *, rate: float, delay: float) -> None:
        self.pair = pair
        self._rate = rate
        self._delay = delay
        self._under_way: dict[str, deque[tuple[float, int]]] = {end.name: deque() for end in pair.ends}
        self._free_at = dict.fromkeys(self._under_way, 0.0)

    def turn(self, seconds: float, *, reading: bool = True) -> None:
        """Let time go by."""
        self.pair.now += seconds
        for end in self.pair.ends:
            while sent := self.pair.take(end):
                self._leaves(end, sent)
            self._arrives(end)
            if reading:
                self.pair.other(end).read_all(self.pair.now)

    def _leaves(self, end: End, size: int) -> None:
        begins = max(self._free_at[end.name], self.pair.now)
        for _ in range(size // 1400):
            self._piece(end, begins, 1400)
            begins = self._free_at[end.name]
        self._piece(end, begins, size % 1400)

    def _piece(self, end: End, begins: float, size: int) -> None:
        self._free_at[end.name] = begins + size / self._rate
        self._under_way[end.name].append((self._free_at[end.name] + self._delay, size))

    def _arrives(self, end: End) -> None:
        under_way, size = self._under_way[end.name], 0
        while under_way and under_way[0][0] <= self.pair.now:
            size += under_way.popleft()[1]
        if size:
            self.pair.deliver(end, size)
