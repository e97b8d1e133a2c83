"""This file is the promises of `pcg` as a whole: one sentence and a code for whatever happens, never a traceback."""

import asyncio
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from gateway.cli import login, main, session
from gateway.cli.exits import Exit
from gateway.cli.options import told
from gateway.identity.authority import Authority
from tests.unit.cli import samples
from tests.unit.cli.test_session import GOOD


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PCG_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def pcg(*arguments: str) -> object:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    return caught.value.code


def when_logging_out(monkeypatch: pytest.MonkeyPatch, does: Callable[[], None]) -> object:
    monkeypatch.setattr(session, "forget", does)
    return pcg("logout")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["version"], 0, ""),
        (["cluster", "--help"], 0, ""),
        (["nothing"], 2, "No such command"),
        (["cluster", "list", "--nothing"], 2, "No such option"),
        (["cluster", "apply"], 2, "Missing option"),
        (["cluster", "list", "-o", "xml"], 2, "xml"),
        (["cluster", "list"], 2, "cli.not_logged_in"),
        (["cluster", "show", "x/../y"], 2, "cli.input_invalid"),
        (["cluster", "delete", "demo"], 2, "--yes"),
        (["cluster", "apply", "-f", "/nowhere"], 2, "clusterfile.unreadable"),
        (["login", "http://console"], 2, "cli.address_invalid"),
        (["login", "https://127.0.0.1:1", "--pin", "x"], 3, "console.unreachable"),
    ],
    ids=str,
)
def test_each_mistake_is_one_sentence_with_its_code(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pcg(*arguments) == code
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == (1 if code else 0)


@pytest.mark.parametrize("content", ["name: x", "", "{"])
def test_a_file_that_is_no_cluster_is_told_before_anybody_is_called(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(content)
    assert pcg("cluster", "apply", "-f", str(path), "-o", "json") == Exit.INPUT
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "clusterfile.invalid"


@pytest.mark.parametrize("hours", ["0", "169"])
def test_hours_that_cannot_be_are_named(hours: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust = Authority.open(tmp_path, now=samples.NOON).root
    session.write(GOOD.model_copy(update={"trust": trust}))
    assert pcg("token", "create", "dc1", "--hours", hours) == Exit.INPUT
    assert "hours: Input should be" in capsys.readouterr().err


def test_no_command_at_all_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert pcg() == Exit.INPUT
    shown = capsys.readouterr()
    assert "cluster" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("spelled", [["-o", "json"], ["--output=json"], ["--output", "json"], ["-ojson"]])
def test_programs_get_usage_errors_as_json_too(spelled: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert pcg("cluster", "show", "A", *spelled) == Exit.INPUT
    shown = capsys.readouterr()
    assert json.loads(shown.err)["error"]["code"] == "cli.input_invalid"
    assert shown.out == ""


def failing(error: BaseException) -> Callable[[], None]:
    def fails() -> None:
        raise error

    return fails


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), Exit.INTERRUPTED, "interrupted"),
        (typer.Abort(), Exit.INTERRUPTED, "interrupted"),
        (BrokenPipeError(32, "Broken pipe"), Exit.PIPE_CLOSED, ""),
        (OSError(28, "No space left on device"), Exit.OPERATOR, "make room, then do it again [cli.disk_full]"),
        (PermissionError(13, "Permission denied", "/x\n"), Exit.OPERATOR, "/x : Permission denied"),
        (KeyError("x"), Exit.DEFECT, "this should not have happened (KeyError)"),
        (ExceptionGroup("", [session.NotLoggedInError("log in")]), Exit.INPUT, "log in"),
        (ExceptionGroup("", [ExceptionGroup("", [ValueError()])]), Exit.DEFECT, "ValueError"),
    ],
    ids=repr,
)
def test_whatever_happens_is_one_sentence(
    error: BaseException, code: Exit, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "_forget_output", lambda: None)
    assert when_logging_out(monkeypatch, failing(error)) == code
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == (1 if words else 0)


def test_a_defect_is_told_whole_to_who_asks_for_it_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PCG_DEBUG", "1")
    assert when_logging_out(monkeypatch, failing(KeyError("pcgkey1_0123_x \x1b"))) == Exit.DEFECT
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "0123" not in err
    assert "\x1b" not in err


def test_closed_standard_streams_are_no_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, None)
    assert pcg("version") == 0
    assert pcg("cluster", "delete", "demo") == Exit.INPUT
    sys.stdout.close()


@pytest.mark.parametrize(
    "content", [b"", b"two\nlines", b"pcgkey1_a\npcgkey1_b", b"\xff\x00", b"pcgreg1_other", b"pcgkey1_a b"]
)
def test_a_file_without_a_key_is_refused_before_it_is_sent(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(SystemExit) as caught, told():
        login._key(tmp_path / "key")
    assert caught.value.code == Exit.INPUT
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "lines" not in err
    assert "pcgkey1_b" not in err


def test_a_key_is_read_without_the_end_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("pcgkey1_a-b_C\n")
    assert login._key(tmp_path / "key") == "pcgkey1_a-b_C"


def test_a_missing_standard_input_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(login.KeyInvalidError, match="--key-file"):
        login._key(None)


async def test_a_reader_that_leaves_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "version"), stdout=writer, stderr=asyncio.subprocess.PIPE
    )
    os.close(writer)
    _, err = await process.communicate()
    assert (process.returncode, err) == (Exit.PIPE_CLOSED, b"")


def test_letters_that_the_terminal_does_not_know_are_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    main._repair_streams()
    sys.stdout.write("東")
    sys.stdout.flush()
    assert out.getvalue() == b"\\u6771"
