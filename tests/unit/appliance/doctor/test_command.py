"""This file is `pcg doctor` as people and programs meet it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.appliance.doctor.examination import Result
from gateway.appliance.doctor.findings import Check, Verdict
from gateway.cli.doctor import exit_code, lines, worst
from gateway.cli.exits import Exit
from gateway.cli.main import main
from gateway.identity import tokens
from gateway.kit.errors import Remedy
from tests.fakes.console import Console, running_console, token
from tests.unit.appliance.doctor.consoles import paired


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


async def pcg(*arguments: str) -> int:
    """Run the command beside the console, in a thread with a loop of its own."""

    def run() -> int:
        with pytest.raises(SystemExit) as left:
            main(["doctor", *arguments])
        return int(left.value.code or 0)

    return await asyncio.to_thread(run)


def result(verdict: Verdict, *, who: Remedy = Remedy.OPERATOR, seen: str = "") -> Result:
    return Result(
        check=Check.TCP, verdict=verdict, finding="tcp.any", seen=seen, cause="a cause", remedy="a remedy", who=who,
        seconds=0.1, facts={},
    )  # fmt: skip


async def test_programs_get_one_document(console: Console, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await paired(console, tmp_path)
    capsys.readouterr()
    code = await pcg("--state", str(tmp_path / "appliance"), "--hold", "0.2", "--output", "json")
    out = capsys.readouterr().out
    document = json.loads(out[out.index("{") :])  # the console's log, which runs here too, may come first
    assert code == 0, out
    assert [one["check"] for one in document["checks"]] == [check.value for check in Check]
    assert document["verdict"] in {"ok", "warning"}
    assert all(one["seconds"] >= 0 for one in document["checks"])


async def test_people_get_a_line_for_each_check_and_the_hold_can_be_left_out(
    console: Console, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    text = await token(console)
    file.write_text(text)
    assert await pcg("--token-file", str(file), "--skip-hold", "--state", str(tmp_path / "none")) == 0
    said = capsys.readouterr().out
    assert [check for check in Check if f"\n{check.value} " not in said] == []
    assert "left out by an option" in said
    assert text not in said
    assert tokens.parse(text).seed.hex() not in said


async def test_a_failure_ends_with_the_code_of_who_can_mend_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await pcg("--console", "https://console.invalid", "--state", str(tmp_path / "none"), "--output", "json")
    assert code == Exit.OPERATOR
    assert json.loads(capsys.readouterr().out)["verdict"] == "failed"


@pytest.mark.parametrize(
    "arguments",
    [("--console", "http://console"), ("--console", "https://c", "--token-file", "x"), ("--hold", "0")],
)
async def test_what_cannot_be_examined_is_refused_before_anything_is_tried(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert await pcg("--state", str(tmp_path / "none"), *arguments) == Exit.INPUT


async def test_who_is_not_paired_is_told_what_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await pcg("--state", str(tmp_path / "none")) == Exit.OPERATOR
    assert "--console URL or --token-file FILE" in capsys.readouterr().err


def test_warnings_are_no_failure_and_the_first_failure_decides() -> None:
    assert exit_code([result(Verdict.OK), result(Verdict.WARNING), result(Verdict.SKIPPED)]) is Exit.OK
    assert exit_code([result(Verdict.FAILED, who=Remedy.RETRY), result(Verdict.FAILED)]) is Exit.RETRY
    assert worst([result(Verdict.OK), result(Verdict.WARNING)]) is Verdict.WARNING
    assert worst([result(Verdict.SKIPPED), result(Verdict.OK)]) is Verdict.OK


def test_what_comes_from_elsewhere_cannot_play_with_the_terminal() -> None:
    text = "\n".join(lines(result(Verdict.FAILED, seen="CN=\x1b[2Jevil\nok")))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2
