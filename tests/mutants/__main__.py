"""This file is planted bugs: `python -m tests.mutants` changes a copy of the package, one bug at a time.

It tells which test notices, and writes that to tests/mutants.md.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "tests" / "mutants.md"
UNIT = "tests/unit/tunnel"
CORE = ("test_mux.py", "test_frames.py", "test_windows.py", "test_pace.py", "test_schedule.py", "test_mux_machine.py")
LIMIT = 200


class Mutant(NamedTuple):
    """One bug: in a file of gateway/tunnel, `what` becomes `bug`; these tests should notice."""

    file: str
    what: str
    bug: str
    says: str
    tests: tuple[str, ...] = CORE


MUTANTS = (
    Mutant("frames.py", "length > self._largest", "length > self._largest + 1", "a frame may be one byte too large"),
    Mutant(
        "frames.py", "self._need += length if", "self._need += length + 1 if", "a frame that was cut waits too long"
    ),
    Mutant("frames.py", "if at < end:", "if at + 11 < end:", "a header that is cut is lost"),
    Mutant(
        "windows.py", "if size > self._credit:", "if size > self._credit + 1:", "one byte beyond the credit is taken"
    ),
    Mutant("windows.py", "self._credit -= size", "self._credit -= 0", "data uses no credit up"),
    Mutant("windows.py", "credit + delta > LARGEST_CREDIT", "delta > LARGEST_CREDIT", "credit may wrap around"),
    Mutant("windows.py", "self._budget.held -= self.held\n", "pass\n", "a stream that is cut stays on the budget"),
    Mutant("windows.py", "now - self._grown_at < 2", "now - self._grown_at > 2", "slow readers' windows grow"),
    Mutant("outgoing.py", "min(limit, stream.credit)", "limit", "more is sent than there is credit for"),
    Mutant("outgoing.py", "stream.queued < QUEUE_LOW", "stream.queued < 0", "nobody is told of room"),
    Mutant(
        "outgoing.py", "queue[0] = view[size:]", "queue[0] = view[size + 1 :]", "a byte is lost where a piece is cut"
    ),
    Mutant(
        "outgoing.py",
        "        self._introduce(stream, taken.pieces.append)\n",
        "",
        "ids go back when a later stream overtakes",
    ),
    Mutant("mux.py", "if flags & FIN and not stream.peer_ended:", "if flags & FIN:", "an end is told twice"),
    Mutant(
        "mux.py", "while self._budget.is_overdrawn", "if self._budget.is_overdrawn", "one is cut where many must be"
    ),
    Mutant(
        "mux.py", "if stream.ended and stream.peer_ended:", "if stream.ended or stream.peer_ended:", "one end ends both"
    ),
    Mutant("mux.py", "self._out.wake(stream, self._now)", "pass", "new credit wakes nobody"),
    Mutant(
        "mux.py",
        "stream_id % 2 == self._parity",
        "stream_id % 2 == 2",
        "the peer may use our ids",
        ("test_vectors.py",),
    ),
    Mutant(
        "mux.py",
        "self._controls_allowed.pay(TOKENS_PER_STREAM)",
        "pass",
        "small streams are a flood",
        ("test_floods.py",),
    ),
    Mutant(
        "pace.py",
        "and not self._markers)",
        ")",
        "each word beyond the cap costs a PING",
        ("test_pace.py", "test_floods.py"),
    ),
    Mutant("pace.py", "unmarked >= self.cap // 4 or", "unmarked >= self.cap * 2 or", "markers are too few"),
    Mutant(
        "pace.py", "self.arrived = marker.sent", "self.arrived = self.sent", "an echo stands for what came after it"
    ),
    Mutant("schedule.py", "self._in_a_row < GUARD", "True", "bulk starves"),
    Mutant("websocket.py", "self._key[shift:] + self._key[:shift]", "self._key", "masks slip", ("test_websocket.py",)),
    Mutant("websocket.py", "self._fragments += 1", "pass", "fragments without end", ("test_websocket.py",)),
    Mutant("crumbs.py", "last += piece", "pieces.append(bytearray(piece))", "crumbs pile up", ("test_stream.py",)),
    Mutant(
        "session.py",
        "if not self._streams:",
        "if self._streams is not None:",
        "a drain loses what is queued",
        ("test_session.py",),
    ),
    Mutant(
        "mux.py",
        "self._smalls += size < SMALL_FRAME",
        "self._smalls += 0",
        "crumbs are read as fast as they come",
        ("test_flood_cost.py",),
    ),
    Mutant("outgoing.py", "if not stream.granting:", "if stream:", "credit that waits is told in many frames"),
    Mutant("mux.py", "if stream.id not in self._unread:", "if stream:", "what is over and unread costs nothing"),
    Mutant("session.py", "self.worn.set()", "pass", "nobody hears that ids run low", ("test_session.py",)),
    Mutant(
        "splice.py",
        "self._transport.write_eof()",
        "self._transport.close()",
        "half a close is a whole",
        ("test_splice.py",),
    ),
)


def main() -> None:
    chosen = sys.argv[1:]
    rows = []
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made)
        for part in ("gateway", "tests", "pyproject.toml"):
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / part)
        for mutant in MUTANTS:
            if not chosen or mutant.file in chosen:
                caught = _caught(mutant, copy)
                rows.append((mutant, caught))
                sys.stdout.write(f"{mutant.file}: {mutant.says}: {caught or 'SURVIVED'}\n")
                sys.stdout.flush()
    if not chosen:
        PAGE.write_text(_page(rows))
    if not all(caught for _, caught in rows):
        sys.exit("a planted bug was not noticed")


def _caught(mutant: Mutant, copy: Path) -> str:
    """Plant the bug, return the name of the first test that fails, and take the bug out."""
    path = copy / "gateway" / "tunnel" / mutant.file
    sound = path.read_text()
    if mutant.what not in sound:
        sys.exit(f"{mutant.file} has no {mutant.what!r} any more: plant this bug elsewhere")
    path.write_text(sound.replace(mutant.what, mutant.bug))
    shutil.rmtree(copy / ".hypothesis", ignore_errors=True)  # what it learned of one bug would be tried on the next
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *(f"{UNIT}/{test}" for test in mutant.tests)],
            cwd=copy, env={"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin", "HOME": str(copy)},
            capture_output=True, text=True, check=False, timeout=LIMIT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"none ends within {LIMIT} s"
    finally:
        path.write_text(sound)
    failed = re.search(rf"(?:FAILED|ERROR) {UNIT}/([\w.:]+)", done.stdout)
    if done.returncode and failed is None:
        sys.exit(done.stdout[-3000:] + done.stderr[-1000:])
    return failed[1] if failed else ""


def _page(rows: list[tuple[Mutant, str]]) -> str:
    lines = [
        "# Planted bugs",
        "",
        "`python -m tests.mutants` plants each of these bugs in a copy of `gateway/tunnel`, runs the tests that should",
        "notice, and writes this page. A test that has caught nothing proves nothing.",
        "",
        "| file | what goes wrong | was | planted | caught by |",
        "| --- | --- | --- | --- | --- |",
    ]
    for mutant, caught in rows:
        was, planted = (_code(text) for text in (mutant.what, mutant.bug))
        lines.append(f"| {mutant.file} | {mutant.says} | {was} | {planted} | {caught or '**nobody**'} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return f"`{text.strip()}`" if text.strip() else "(left out)"


if __name__ == "__main__":
    main()
