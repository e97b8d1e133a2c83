"""This file is the promises of tables: whatever the other side says, it is shown as text and as nothing else."""

import io
import json
import re
import sys
import time
from collections.abc import Callable
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from gateway.cli import progress, tables
from gateway.cli.plain import plain
from gateway.cli.progress import Progress
from gateway.cli.tables import Output
from gateway.console.records import AuditOutcome
from gateway.contract.events import CommandEnded, CommandOutcome, EventBody, MachineSeen, StepBegan, StepFailed
from tests.unit.cli import samples
from tests.unit.cli.samples import HOSTILE

ONE = uuid4()


def live() -> RenderableType:
    known = Progress()
    bodies: tuple[EventBody, ...] = (
        MachineSeen(machine=samples.machine(HOSTILE[:80], text=HOSTILE)),
        StepBegan(step=HOSTILE, title=HOSTILE),
    )
    for position, body in enumerate(bodies, start=1):
        known = progress.after(known, samples.event(body, of=ONE, position=position))
    return tables.live(HOSTILE, known)


PICTURES: dict[str, Callable[[], RenderableType]] = {
    "clusters": lambda: tables.clusters([samples.view(text=HOSTILE)]),
    "cluster": lambda: tables.cluster(samples.view(text=HOSTILE, machines=(samples.machine(text=HOSTILE),))),
    "machines": lambda: tables.machines([samples.machine(HOSTILE[:80], text=HOSTILE)]),
    "gateways": lambda: tables.gateways([samples.gateway(text=HOSTILE)]),
    "tokens": lambda: tables.tokens([samples.token(text=HOSTILE)]),
    "audit": lambda: tables.audit([samples.audited(text=HOSTILE, code=HOSTILE)], older=HOSTILE),
    "inventory": lambda: tables.inventory(samples.inventory(text=HOSTILE)),
    "live": live,
    "plan": lambda: tables.plan(samples.plan(text=HOSTILE)),
    "removed": lambda: tables.removed(samples.removed(text=HOSTILE)),
}


def printed(picture: RenderableType, width: int = tables.WIDEST) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("name", ["clusters", "cluster", "gateways", "tokens", "audit"])
def test_a_moment_is_in_utc_and_says_so_whatever_the_zone_of_the_machine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        text = printed(PICTURES[name]())
    finally:
        monkeypatch.undo()
        time.tzset()
    shown = re.findall(r"2026-05-0\d.{0,10}", text)
    assert shown, text
    if name == "audit":  # in a column that says so at its head
        assert "AT (UTC)" in text
        assert {one[:19] for one in shown} == {"2026-05-01 12:00:00"}
    else:
        assert {one for one in shown if not one.startswith("2026-05-01 12:00 UTC")} == set()


@pytest.mark.parametrize("name", PICTURES)
def test_hostile_text_is_shown_and_does_nothing(name: str) -> None:
    text = printed(PICTURES[name]())
    assert [letter for letter in text if not letter.isprintable() and letter != "\n"] == []
    assert "[/x][bold]\\x1b[2J" in text
    assert ":smile:" in text or name in {"machines", "live", "cluster"}
    assert not [line for line in text.splitlines() if line.startswith("12:00:00")]


def test_a_name_in_brackets_keeps_them() -> None:
    assert "[dmz] VLAN 12" in printed(tables.inventory(samples.inventory()))


def test_a_long_line_is_neither_wrapped_nor_cut_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables.show(samples.view(), tables.clusters([samples.view(text="long " * 300)]), Output.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert ("long " * 300).strip() in lines[1]
    assert len(lines[0]) < 2000


def test_json_is_free_of_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    found = samples.inventory(text=HOSTILE)
    tables.show(found, tables.inventory(found), Output.JSON)
    out = capsys.readouterr().out
    assert out.isascii()
    assert not [letter for letter in out if ord(letter) < 32 and letter != "\n"]
    assert json.loads(out)["product"] == HOSTILE


@pytest.mark.parametrize(
    "body",
    [
        StepBegan(step="a", title=HOSTILE),
        StepFailed(step="a", problem=samples.problem()),
        CommandEnded(outcome=CommandOutcome.FAILED, problem=samples.problem()),
    ],
)
def test_an_event_is_one_harmless_line(body: EventBody) -> None:
    assert progress.line(samples.event(body, of=ONE)).isprintable()


@given(st.text())
def test_plain_text_is_one_printable_line_and_made_plain_once(text: str) -> None:
    once = plain(text)
    assert plain(once) == once
    assert "\n" not in once
    assert "\x1b" not in once
    once.encode()


def test_letters_of_every_language_stay() -> None:
    assert plain("Zürich 東京 é") == "Zürich 東京 é"


def test_a_terminal_is_drawn_without_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    screen = tables.screen()
    screen.print("[/x] [dmz] :smile:")
    assert isinstance(sys.stdout, io.StringIO)
    assert sys.stdout.getvalue() == "[/x] [dmz] :smile:\n"


@pytest.mark.parametrize("width", [80, 100])
def test_an_entry_of_the_audit_log_is_one_line_and_its_numbers_are_whole(width: int) -> None:
    long = "a-name-that-is-as-long-as-the-names-of-things-are-in-some-places"
    entries = [
        samples.audited(AuditOutcome.REFUSED, text=long, code="stream.target_unreachable"),
        samples.audited(text=long, sent=0, received=7 * 1024**3, seconds=12345.678),
        samples.audited(text="x", sent=1023, received=1024, seconds=0.0),
    ]
    lines = printed(tables.audit(entries), width).splitlines()

    head = lines[0].split()
    assert (head[:3], head[4:]) == (["AT", "(UTC)", "WHO"], ["OUTCOME", "IN", "OUT", "SECONDS"])
    assert len(lines) == 1 + len(entries)
    assert lines[2].endswith("7.0 GiB  0 bytes     12345.7")
    assert "refused" in lines[1]


def test_what_is_refused_shows_its_code_and_an_entry_without_a_target_shows_none() -> None:
    entry = samples.audited(AuditOutcome.REFUSED, text="admin", code="stream.not_understood", untold=3)
    text = printed(tables.audit([entry.model_copy(update={"gateway": None, "target": None})]))
    assert "refused stream.not_understood" in text
    assert "/" not in text.splitlines()[1]
