"""This file is what was found: values by road, measure and round, and the ratios that the tunnel is held to."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

DIRECTIONS = ("down", "up")


def bulk(streams: int, direction: str) -> str:
    """Return the name of a measure of throughput."""
    return f"{streams} stream{'s' if streams > 1 else ''} {direction}"


@dataclass
class Findings:
    """Values are kept by round, so that a ratio compares what was measured side by side."""

    values: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """What went wrong, or is not there."""

    def add(self, road: str, measure: str, value: float, unit: str, *, turn: int) -> None:
        """Take note of one value."""
        self.values.setdefault((road, measure), {})[turn] = value
        self.units[measure] = unit

    def median(self, road: str, measure: str) -> float | None:
        """Return the median of all rounds, None when there is no value."""
        found = self.values.get((road, measure))
        return statistics.median(found.values()) if found else None

    def ratio(self, one: tuple[str, str], other: tuple[str, str]) -> float | None:
        """Return the median of the rounds' ratios, None when a side is missing."""
        left, right = self.values.get(one, {}), self.values.get(other, {})
        found = [left[turn] / right[turn] for turn in left if turn in right and right[turn] > 0]
        return statistics.median(found) if found else None

    def rows(self) -> list[dict[str, object]]:
        """Return every value as results/*.json has them."""
        return [
            {
                "name": f"{road}: {measure}",
                "value": round(statistics.median(found.values()), 3),
                "unit": self.units[measure],
                "runs": [round(value, 3) for value in found.values()],
            }
            for (road, measure), found in self.values.items()
        ]


OURS, LIMIT, SSH, SSH_GCM = "ours", "limit", "ssh -R", "ssh -R aes128-gcm"
OPEN = "open a stream"
REQUEST = "request p99"


def beside(streams: int) -> str:
    """Return the name of the measure of a request's p99 while bulk saturates."""
    return f"{REQUEST} beside {bulk(streams, 'down')}"


def ratios(found: Findings) -> dict[str, float]:
    """Return the ratios the tunnel is held to; where two directions or loads were measured, the worse of them."""

    def speed(streams: int, other: str, other_streams: int) -> float | None:
        pairs = [
            found.ratio((OURS, bulk(streams, way)), (other, bulk(other_streams, way if other != LIMIT else "down")))
            for way in DIRECTIONS
        ]
        return _worst(min, pairs)

    def wait(other: str) -> float | None:
        return _worst(max, [found.ratio((OURS, beside(streams)), (other, beside(streams))) for streams in (1, 10)])

    idle = found.median(OURS, REQUEST) or 0.0
    slow = [found.median(OURS, beside(streams)) for streams in (1, 10)]
    above = [median - idle for median in slow if median is not None]
    all_of_them = {
        "stream1_vs_limit": speed(1, LIMIT, 1),
        "stream1_vs_chisel": speed(1, "chisel", 1),
        "stream1_vs_ssh": speed(1, SSH, 1),
        "stream1_vs_stunnel": speed(1, "stunnel", 1),
        "stream1_vs_wstunnel": speed(1, "wstunnel", 1),
        "stream10_vs_stream1": speed(10, OURS, 1),
        "stream100_vs_stream1": speed(100, OURS, 1),
        "stream10_vs_ssh_gcm": speed(10, SSH_GCM, 10),
        "stream100_vs_ssh_gcm": speed(100, SSH_GCM, 100),
        "open_vs_ssh": found.ratio((OURS, OPEN), (SSH, OPEN)),
        "open_vs_stunnel": found.ratio((OURS, OPEN), ("stunnel", OPEN)),
        "p99_bulk_vs_chisel": wait("chisel"),
        "p99_bulk_vs_ssh": wait(SSH),
        "p99_bulk_above_idle_ms": max(above, default=None),
        "stalled_loss": found.median(OURS, "throughput lost to 200 stalled readers"),
    }
    return {name: round(value, 3) for name, value in all_of_them.items() if value is not None}


def _worst(choose: Callable[[list[float]], float], pairs: list[float | None]) -> float | None:
    known = [value for value in pairs if value is not None]
    return choose(known) if known else None
