"""This file is planted bugs: `python -m tests.simulation.mutants` plants each in a copy of the commands' core.

It runs seeds until one breaks a promise, and writes which, and how many it took, to tests/simulation/mutants.md.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).with_name("mutants.md")
SEEDS = 1000
LIMIT = 600


class Mutant(NamedTuple):
    """One bug: in a file of gateway/commands, `what` becomes `bug`."""

    file: str
    what: str
    bug: str
    says: str


MUTANTS = (
    Mutant(
        "journal.py",
        "            await self._disk.append(flush.batch)\n            self._apply(flush)\n",
        "            self._apply(flush)\n            await self._disk.append(flush.batch)\n",
        "memory is ahead of the disk",
    ),
    Mutant(
        "journal.py",
        "        self._trouble = fault if self._queue else None",
        "        self._trouble = fault if self._queue else None\n        self.last_event += 1",
        "a write that failed uses a number up",
    ),
    Mutant(
        "journal.py",
        "        body = await self._disk.find(command.id)\n",
        "        body = None\n",
        "what is over and known to be is forgotten, and runs when it comes again",
    ),
    Mutant(
        "ledger.py",
        "        copy = Ledger()\n",
        "        return self\n        copy = Ledger()\n",
        "a decision changes what is not on disk",
    ),
    Mutant("ledger.py", "key=key, settled=False)", "key=key, settled=True)", "an intent is taken for an outcome"),
    Mutant(
        "ledger.py",
        "oldest.setdefault(known.resource, known)",
        "oldest.setdefault(str(one), known)",
        "commands on one resource run side by side",
    ),
    Mutant(
        "ledger.py",
        "for known in oldest.values() if not self._held(known)]",
        "for known in oldest.values() if not self._held(known) and known.state is CommandState.ACCEPTED]",
        "what a cut has interrupted is not taken up again",
    ),
    Mutant(
        "work.py",
        "        if self.is_done(declared.name):\n",
        "        if self.command is None:\n",
        "a step that is done is done again",
    ),
    Mutant(
        "work.py",
        "if declared.is_once and declared.name in self.record.in_doubt and",
        "if self.command is None and",
        "nobody looks whether a step was done before it is done again",
    ),
    Mutant(
        "work.py",
        "key = known.key if known is not None and known.key is not None else declared.key",
        "key = declared.key",
        "a keyed step is done again under another key",
    ),
    Mutant(
        "inbox.py",
        "        if earlier != command.id:\n",
        "        if self.protocol == 0:\n",
        "a later command overtakes one that was put off",
    ),
    Mutant("outbox.py", "self._sent = batch[-1].number", "self._sent = batch[-1].number + 1", "an event is left out"),
    Mutant(
        "executor.py",
        "if self._stopping:",
        "if self._clock is None:",
        "what breaks because the appliance stops ends the command",
    ),
)


def main() -> None:
    chosen = sys.argv[1:]
    rows = []
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made)
        for part in ("gateway", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for mutant in MUTANTS:
            if not chosen or mutant.file in chosen:
                found = _found(mutant, copy)
                rows.append((mutant, found))
                print(f"{mutant.file}: {mutant.says}: {found or 'SURVIVED'}", flush=True)
    if not chosen:
        PAGE.write_text(_page(rows))
    if not all(found for _, found in rows):
        sys.exit("a planted bug was not noticed")


def _found(mutant: Mutant, copy: Path) -> str:
    """Plant the bug, run seeds until one finds it, and take the bug out."""
    path = copy / "gateway" / "commands" / mutant.file
    sound = path.read_text()
    if mutant.what not in sound:
        sys.exit(f"{mutant.file} has no {mutant.what!r} any more: plant this bug elsewhere")
    path.write_text(sound.replace(mutant.what, mutant.bug))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS), "--until-first"],
            cwd=copy, env={"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
            check=False, timeout=LIMIT,
        )  # fmt: skip
    finally:
        path.write_text(sound)
    told = re.search(r"seed (\d+): (.*)", done.stdout)
    if done.returncode and told is None:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return f"seed {told[1]}: {_shortened(told[2])}" if told else ""


def _shortened(text: str) -> str:
    """Leave out ids: they say nothing to a reader."""
    return re.sub(r"\(?UUID\('[^']*'\)|[0-9a-f]{8}-[0-9a-f-]{27}", "…", text)[:140]


def _page(rows: list[tuple[Mutant, str]]) -> str:
    lines = [
        "# Bugs planted in the core of the commands",
        "",
        "`python -m tests.simulation.mutants` plants each of these in a copy of `gateway/commands`, runs seeds",
        "until a seed breaks a promise, and writes this page.",
        "",
        "| file | what goes wrong | found by |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {mutant.file} | {mutant.says} | {found or '**nobody**'} |" for mutant, found in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
