"""This file is how a benchmark is written down: results/NAME.json, and all of them as tables in results.md."""

import json
import os
import platform
import statistics
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """# Measured

Each benchmark answers one question in one run; `make bench-NAME` repeats it and writes this page. Absolute figures are
of the machine named beside them; what counts are the ratios within a run.
"""


def write(name: str, *, question: str, runs: dict[str, list[float]], unit: str, ratios: dict[str, float]) -> None:
    """Write the runs of one benchmark, their medians and the ratios, then the page of all."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    rows = [
        {"name": key, "value": round(statistics.median(values), 2), "unit": unit, "runs": [round(v, 2) for v in values]}
        for key, values in runs.items()
    ]
    result = {"question": question, "machine": machine, "rows": rows, "ratios": ratios}
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
        parts.append("| what | median | runs |\n| --- | --- | --- |")
        for row in result["rows"]:
            runs = ", ".join(str(value) for value in row["runs"])
            parts.append(f"| {row['name']} | {row['value']} {row['unit']} | {runs} |")
        parts.append("\n| ratio | |\n| --- | --- |")
        parts += [f"| {name} | {value} |" for name, value in result["ratios"].items()]
        parts.append("")
    return "\n".join([*parts, (HERE / "by_hand.md").read_text()])


if __name__ == "__main__":
    write_page()
