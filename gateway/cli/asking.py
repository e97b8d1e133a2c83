"""This file is how a person is asked: on standard error, for standard output is for answers; and never a program."""

import getpass
import sys

from gateway.cli.plain import plain
from gateway.kit.errors import GatewayError, Remedy


class NotConfirmedError(GatewayError):
    """What cannot be undone was not confirmed."""

    code = "cli.not_confirmed"
    remedy = Remedy.CALLER


def can_ask() -> bool:
    """Tell whether a person can be asked: standard input and standard error are both a terminal."""
    return all(stream is not None and not stream.closed and stream.isatty() for stream in (sys.stdin, sys.stderr))


def confirmed(question: str) -> bool:
    """Ask a question that is answered with yes or no; everything but yes is no."""
    sys.stderr.write(f"{plain(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def line(what: str) -> str:
    """Ask for a line, which is shown while it is typed."""
    sys.stderr.write(f"{plain(what)}: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def secret(what: str) -> str:
    """Ask for a secret, which is not shown while it is typed."""
    try:
        return getpass.getpass(f"{what}: ", stream=sys.stderr)
    except EOFError:
        return ""


def confirm_removal(question: str, *, yes: bool) -> None:
    """Return when `yes` was given or a person agrees. Raises NotConfirmedError, also when nobody can be asked."""
    if yes:
        return
    if not can_ask():
        raise NotConfirmedError("nothing was changed: without a terminal to ask on, say --yes")
    if not confirmed(question):
        raise NotConfirmedError("nothing was changed")
