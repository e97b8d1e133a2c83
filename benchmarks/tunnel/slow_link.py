"""This file is the slow link: 1 Mbit/s saturated both ways for minutes must not be cut, and silence must be noticed."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tables
from benchmarks.tunnel import roads
from benchmarks.tunnel.links import Link, linked
from benchmarks.tunnel.load import target_behind
from benchmarks.tunnel.ours import Ours
from benchmarks.tunnel.roads import Laid
from benchmarks.tunnel.tools import Tools

SLOW = Link("1 Mbit/s", rate="1mbit", burst="16kb", queue="400ms", delay_ms=0.0)
ENDED = "session ended"
LONG_ENOUGH = 600.0
NOTICE_LIMIT = 90.0
STEP = 0.1


@dataclass(frozen=True)
class Held:
    """What was seen; seconds."""

    held: float
    rates: dict[str, float]
    noticed: dict[str, dict[str, float]]

    def __str__(self) -> str:
        return json.dumps(self.__dict__, indent=1)


def hold(tools: Tools, *, seconds: float) -> Held:
    """Saturate the link both ways, then have it fall silent, idle and saturated; how long until each end noticed.

    Raises LoadBrokeError when the road cuts a stream in between.
    """
    rates = _saturated(tools, seconds)
    noticed = {"while saturated": _silence(tools, busy=True), "while idle": _silence(tools, busy=False)}
    held = Held(seconds, rates, noticed)
    if seconds >= LONG_ENOUGH:
        _write(held)
    return held


def _saturated(tools: Tools, seconds: float) -> dict[str, float]:
    with (
        linked(SLOW, tools) as there,
        target_behind(tools, there.site.console, there.site.appliance) as load,
        roads.laid(Ours(), there.site, load.target) as laid,
    ):
        down, up = load.begun(laid.port, "down", 1, seconds=seconds), load.begun(laid.port, "up", 1, seconds=seconds)
        with down as one, up as other:
            found = {"down": round(one.result().rate, 3), "up": round(other.result().rate, 3)}
        assert not _noticed(laid)
        return found


def _silence(tools: Tools, *, busy: bool) -> dict[str, float]:
    with (
        linked(SLOW, tools) as there,
        target_behind(tools, there.site.console, there.site.appliance) as load,
        roads.laid(Ours(), there.site, load.target) as laid,
    ):
        streams = 1 if busy else 0
        with load.begun(laid.port, "down", streams, seconds=NOTICE_LIMIT):
            load.wait(10.0)
            there.fall_silent()
            return _watched(laid)


def _watched(laid: Laid) -> dict[str, float]:
    began, found = time.monotonic(), dict[str, float]()
    while len(found) < 2 and time.monotonic() < began + NOTICE_LIMIT:
        time.sleep(STEP)
        for name in _noticed(laid):
            found.setdefault(name, round(time.monotonic() - began, 1))
    return found


def _noticed(laid: Laid) -> list[str]:
    logs: dict[str, Path] = {"console": laid.ends.console.log, "appliance": laid.ends.appliance.log}
    return [name for name, log in logs.items() if ENDED in log.read_text()]


def _write(held: Held) -> None:
    rows: list[dict[str, object]] = [
        {"name": f"{SLOW.name} saturated {way} for {held.held:.0f} s", "value": rate, "unit": "MB/s", "runs": [rate]}
        for way, rate in held.rates.items()
    ]
    rows += [
        {"name": f"silence noticed by the {end} {when}", "value": value, "unit": "s", "runs": [value]}
        for when, ends in held.noticed.items()
        for end, value in ends.items()
    ]
    longest = max((value for ends in held.noticed.values() for value in ends.values()), default=0.0)
    tables.write_rows(
        "tunnel-slow-link",
        question="Does a saturated link of 1 Mbit/s stay up, and is a peer that went silent declared dead in time?",
        rows=rows,
        ratios={"slowest_notice_s": longest, "held_s": held.held},
        page=None,
    )
