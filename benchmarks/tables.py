"""This file is how a benchmark is written down: results/NAME.json, and all of them as tables in results.md."""

import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEAD = """# Measured

Each benchmark answers one question in one run; `make bench-NAME` repeats it and writes this page. Absolute figures are
of the machine named beside them; what counts are the ratios within a run.
"""


def write(name: str, *, question: str, runs: dict[str, list[float]], unit: str, ratios: dict[str, float]) -> None:
    """Write the runs of one benchmark, their medians and the ratios, then the page of all."""
    rows: list[dict[str, object]] = [
        {"name": key, "value": round(statistics.median(values), 2), "unit": unit, "runs": [round(v, 2) for v in values]}
        for key, values in runs.items()
    ]
    write_rows(name, question=question, rows=rows, ratios=ratios, page=None)


def write_rows(
    name: str,
    *,
    question: str,
    rows: list[dict[str, object]],
    ratios: dict[str, float],
    page: list[str] | None,
) -> None:
    """Write rows that have a unit each. `page` is how they are shown, line by line; None for a plain table."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    result: dict[str, object] = {"question": question, "machine": machine, "rows": rows, "ratios": ratios}
    if page is not None:
        result["page"] = page
    (HERE / "results" / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    write_page()


def write_page() -> None:
    """Write results.md."""
    (HERE / "results.md").write_text(page())


def page() -> str:
    """Return results.md, made from every results/*.json, and what was measured by hand."""
    parts = [HEAD]
    for path in sorted((HERE / "results").glob("*.json")):
        result = json.loads(path.read_text())
        parts.append(
            f"## {result['question']}\n\n`make bench-{path.stem.replace('_', '-')}`, on {result['machine']}.\n"
        )
        parts += result.get("page") or _plain(result["rows"])
        parts.append("\n| ratio | |\n| --- | --- |")
        parts += [f"| {name} | {value} |" for name, value in result["ratios"].items()]
        parts.append("")
    return "\n".join([*parts, (HERE / "by_hand.md").read_text()])


def _plain(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| what | median | runs |", "| --- | --- | --- |"]
    for row in rows:
        runs = ", ".join(str(value) for value in row["runs"])
        lines.append(f"| {row['name']} | {row['value']} {row['unit']} | {runs} |")
    return lines


if __name__ == "__main__":
    write_page()
