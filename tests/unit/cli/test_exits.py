"""This file is the promises of the way out: one harmless sentence, no secret, and a code for scripts."""

import errno
import json

import pytest

from gateway.cli import exits
from gateway.cli.clusterfile import ClusterFileError
from gateway.cli.exits import AnsweredError, CommandEndedBadlyError, Exit
from gateway.contract.problems import Fault, Problem
from gateway.kit.errors import GatewayError, Remedy
from tests.unit.cli import samples
from tests.unit.cli.samples import HOSTILE


def left(error: GatewayError, *, as_json: bool = False) -> int:
    with pytest.raises(SystemExit) as caught:
        exits.leave(error, as_json=as_json)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(("remedy", "code"), [("caller", 2), ("retry", 3), ("operator", 4), ("developer", 5)])
def test_who_can_help_decides_the_code(remedy: str, code: int) -> None:
    assert left(AnsweredError(Problem(code="a.b", message="no", remedy=Remedy(remedy)))) == code


def test_a_command_that_ended_badly_is_told_from_all_else() -> None:
    assert left(CommandEndedBadlyError(samples.problem())) == Exit.FAILED


def test_what_the_other_side_says_is_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    fault = Fault(where=["a\nb", 1], message=HOSTILE)
    left(AnsweredError(Problem(code="a\nb", message=HOSTILE, remedy=Remedy.CALLER, faults=[fault])))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_an_error_with_several_lines_keeps_them(capsys: pytest.CaptureFixture[str]) -> None:
    left(ClusterFileError("one", "two\x1b\n3"))
    assert capsys.readouterr().err == "error: one\n  two\\x1b 3 [clusterfile.invalid]\n"


def test_no_secret_leaves_with_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    left(AnsweredError(samples.problem("bad key pcgkey1_0123_secret")))
    assert "0123" not in capsys.readouterr().err


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_with_its_way_out(reason: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=str(int(Exit.OPERATOR))):
        exits.leave(OSError(reason, "No space left on device", "/state/session.json"), as_json=False)
    assert capsys.readouterr().err.startswith("error: /state/session.json: there is no room left: make room")


def test_programs_get_the_error_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    left(AnsweredError(samples.problem()), as_json=True)
    err = capsys.readouterr().err
    assert err.isascii()
    assert json.loads(err)["error"]["code"] == "some.code"
