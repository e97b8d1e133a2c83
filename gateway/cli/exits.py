"""This file is the exit codes of `pcg`, and how an error is told on the way out."""

import errno
import json
import sys
import traceback
from enum import IntEnum
from typing import NoReturn, Protocol, runtime_checkable

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError
from typer import TyperException

from gateway.cli.arguments import InputInvalidError, in_words
from gateway.cli.plain import plain
from gateway.contract.problems import Problem, RelayedError, problem_of
from gateway.kit.errors import GatewayError, Remedy
from gateway.kit.logs import without_secrets


class Exit(IntEnum):
    """What `pcg` ends with; scripts can rely on it."""

    OK = 0
    """Done."""
    FAILED = 1
    """The command was carried out by a gateway and ended badly."""
    INPUT = 2
    """What was asked is wrong: mend the arguments or the file. Also when a person says no."""
    RETRY = 3
    """Somebody does not answer now: the same may work later."""
    OPERATOR = 4
    """Something in the console or the data centre must be put right first."""
    DEFECT = 5
    """A defect of ours."""
    INTERRUPTED = 130
    """Ctrl-C; a command that was sent goes on."""
    PIPE_CLOSED = 141
    """Whoever read the output has gone; a command that was sent goes on."""


BY_REMEDY = {
    Remedy.CALLER: Exit.INPUT,
    Remedy.RETRY: Exit.RETRY,
    Remedy.OPERATOR: Exit.OPERATOR,
    Remedy.DEVELOPER: Exit.DEFECT,
}


class AnsweredError(RelayedError):
    """The console has answered with a problem."""

    code = "console.answered"


class CommandEndedBadlyError(RelayedError):
    """A gateway carried the command out and it ended badly."""

    code = "command.ended_badly"


class UsageError(GatewayError):
    """There is no such command or option, or one is missing."""

    code = "cli.usage"
    remedy = Remedy.CALLER


class SystemRefusedError(GatewayError):
    """The operating system has refused something, such as reading a file."""

    code = "cli.system_refused"
    remedy = Remedy.OPERATOR


class DiskFullError(GatewayError):
    """There is no room left for what is to be written."""

    code = "cli.disk_full"
    remedy = Remedy.OPERATOR


class DefectError(GatewayError):
    """Something went wrong that has no name."""

    code = "cli.defect"
    remedy = Remedy.DEVELOPER


@runtime_checkable
class InLines(Protocol):
    """An error that has more to say than one sentence."""

    lines: tuple[str, ...]


def named(error: BaseException) -> GatewayError:
    """Return the error of ours that says what `error` means; of several at once, the first that has a name."""
    match error:
        case GatewayError():
            return error
        case BaseExceptionGroup():
            known = error.subgroup(GatewayError)
            return named((known or error).exceptions[0])
        case ValidationError():
            return InputInvalidError(f"{_setting(error)}{'; '.join(in_words(fault) for fault in _faults_of(error))}")
        case SettingsError():
            return InputInvalidError(str(error))
        case TyperException():
            return UsageError(f"{error.format_message().rstrip('.?')}; --help shows what there is")
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return DiskFullError(f"{_place(error)}there is no room left: make room, then do it again")
        case OSError():
            return SystemRefusedError(f"{_place(error)}{error.strerror or error}")
    return DefectError(
        f"this should not have happened ({type(error).__name__}); the same with PCG_DEBUG=1 shows what to report"
    )


def leave(error: BaseException, *, as_json: bool, debug: bool = False) -> NoReturn:
    """Tell an error on standard error, as a sentence with its code or as JSON, and exit with its code.

    With `debug`, what has no name is told with all it says.
    """
    named_error = named(error)
    problem = problem_of(named_error)
    if debug and isinstance(named_error, DefectError):
        lines = "".join(traceback.format_exception(error)).splitlines()
        sys.stderr.write(without_secrets("\n".join(plain(line) for line in lines)) + "\n")
    if as_json:
        text = json.dumps({"error": problem.model_dump(mode="json")})
    else:
        text = "\n".join([*_sentences(named_error, problem), *_faults(problem)])
    sys.stderr.write(without_secrets(text) + "\n")
    code = Exit.FAILED if isinstance(named_error, CommandEndedBadlyError) else BY_REMEDY[problem.remedy]
    raise SystemExit(int(code))


def _sentences(error: GatewayError, problem: Problem) -> list[str]:
    """Return an error's lines: one, unless the error itself has several; a newline from elsewhere begins none."""
    first, *more = error.lines if isinstance(error, InLines) else (problem.message,)
    lines = [f"error: {plain(first)}", *(f"  {plain(line)}" for line in more)]
    return [*lines[:-1], f"{lines[-1]} [{plain(problem.code)}]"]


def _faults(problem: Problem) -> list[str]:
    return [plain(f"  {'.'.join(str(part) for part in fault.where)}: {fault.message}") for fault in problem.faults]


def _faults_of(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _setting(error: ValidationError) -> str:
    return "a setting is wrong: " if error.title.endswith("Settings") else ""


def _place(error: OSError) -> str:
    return f"{error.filename}: " if error.filename is not None else ""
