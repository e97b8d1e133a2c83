"""This file is how the tunnel's benchmark is written down: results/tunnel.json, and its part of results.md."""

import json

from benchmarks import tables
from benchmarks.tunnel.findings import OPEN, REQUEST, Findings, beside, bulk, ratios
from benchmarks.tunnel.links import LINKS

QUESTION = "Is the tunnel as fast, as fair and as quick to answer as what a user would choose instead?"
NOTES = """\
MB are 10^6 bytes. Every road has the same user and target (C, on the same two cores), mutual TLS 1.3 with P-256
certificates where it has certificates, and is measured in turn with the others; a ratio is the median of the rounds'
ratios, and of two directions or loads the worse. `limit` has no TCP in and out: two processes in place of four.
Streams are opened one right after the other; `after a rest` of 0.1 s, `ssh -R` escapes the delayed acknowledgements
that cost it 44 ms otherwise. Requests are 64 bytes there and back, one by one. CPU and memory are of both ends."""

LOOPBACK = [
    *(bulk(streams, way) for streams in (1, 10, 100) for way in ("down", "up")),
    OPEN, f"{OPEN} after a rest", "request p50", REQUEST, beside(1), beside(10),
    f"CPU for {bulk(1, 'down')}", f"CPU for {bulk(100, 'down')}", f"poorest of {bulk(100, 'down')}",
    "memory idle, console's end", "memory idle, appliance's end", "memory of an idle stream, both ends",
]  # fmt: skip
STALLED = [
    "1 stream down without them", "1 stream down beside 200 stalled readers", "throughput lost to 200 stalled readers",
    "memory with 200 stalled readers, appliance's end", "memory with 200 stalled readers, console's end",
]  # fmt: skip


def link_measures(link: str) -> list[str]:
    """Return what is measured on a link."""
    times = [f"{link}: request {which} {when}" for when in ("idle", "beside bulk") for which in ("p50", "p99")]
    return [*times, f"{link}: {bulk(1, 'down')}"]


def write(found: Findings, roads: list[str], *, machine_note: str) -> None:
    """Write both."""
    parts = [table(found, roads, LOOPBACK), table(found, roads, STALLED)]
    parts += [table(found, roads, link_measures(link.name)) for link in LINKS]
    lines = [line for part in parts if part for line in [*part, ""]]
    tables.write_rows(
        "tunnel",
        question=QUESTION,
        rows=found.rows(),
        ratios=ratios(found),
        page=[*NOTES.splitlines(), "", machine_note, "", *[f"* {fault}" for fault in found.faults], "", *lines],
    )


def table(found: Findings, roads: list[str], measures: list[str]) -> list[str]:
    """Return a table of medians with a column for each road that has any of the measures; none when no road has."""
    shown = [road for road in roads if any(found.median(road, measure) is not None for measure in measures)]
    if not shown:
        return []
    lines = [f"| median | {' | '.join(shown)} |", f"| --- |{' --- |' * len(shown)}"]
    for measure in measures:
        if measure in found.units:
            cells = [_cell(found.median(road, measure)) for road in shown]
            lines.append(f"| {measure}, {found.units[measure]} | {' | '.join(cells)} |")
    return lines


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def show(found: Findings, roads: list[str]) -> None:
    """Print what was found so far."""
    for part in (LOOPBACK, STALLED, *(link_measures(link.name) for link in LINKS)):
        print("\n".join([*table(found, roads, part), ""]))
    print(json.dumps(ratios(found), indent=1))
