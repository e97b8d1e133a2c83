"""This file is what may be said on the command line: names are checked before anything is done with them.

A name becomes part of a URL. Without a check `x/../prod` would name another cluster than the one that was read.
"""

import re
from typing import Annotated
from urllib.parse import quote

import typer
from pydantic_core import ErrorDetails

from gateway.cli.plain import plain
from gateway.contract.shapes import NAME_PATTERN, RULES, rule_broken
from gateway.kit.errors import GatewayError, Remedy

PLAN_HASH = re.compile(r"[0-9a-f]{64}")
TOKEN_ID = re.compile(r"[0-9a-f]{20}")


class InputInvalidError(GatewayError):
    """What was given on the command line or in a setting cannot be right."""

    code = "cli.input_invalid"
    remedy = Remedy.CALLER


def name(text: str) -> str:
    """Return a name as it is. Raises InputInvalidError for what the contract does not call one."""
    if not re.fullmatch(NAME_PATTERN, text) or text.endswith("\n"):
        raise InputInvalidError(f'"{plain(text)[:100]}" is no name: {RULES[NAME_PATTERN]}')
    return text


def token_id(text: str) -> str:
    """Return a registration token's id. Raises InputInvalidError, which never repeats what may be the token itself."""
    if not TOKEN_ID.fullmatch(text):
        raise InputInvalidError("a token's id is 20 hexadecimal digits, as `pcg token list` shows them")
    return text


def plan_hash(text: str | None) -> str | None:
    """Return a plan's hash. Raises InputInvalidError."""
    if text is not None and not PLAN_HASH.fullmatch(text):
        raise InputInvalidError("a plan's hash is 64 hexadecimal digits, as `pcg cluster plan` shows it")
    return text


def bound(where: str, plan: str | None) -> str:
    """Return the path of a request that is bound to a plan, if one is named."""
    return where if plan is None else f"{where}?plan={plan}"


def in_words(error: ErrorDetails) -> str:
    """Return what is wrong with a value: where it is, and the rule it breaks."""
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {rule_broken(error)}" if where else rule_broken(error)


def path(*parts: str) -> str:
    """Return the path of a URL, each part quoted so that it stays one part. Raises InputInvalidError for dots alone."""
    for part in parts:
        if part in {"", ".", ".."}:
            raise InputInvalidError(f'"{part}" is no name')
    return "".join(f"/{quote(part, safe='')}" for part in parts)


ClusterName = Annotated[str, typer.Argument(help="the cluster's name", callback=name)]
GatewayName = Annotated[str, typer.Argument(help="the gateway's name", callback=name)]
TargetName = Annotated[str, typer.Argument(help="the target's name, from `pcg tunnel targets`", callback=name)]
NewGatewayName = Annotated[str, typer.Argument(help="the name that the new gateway will have", callback=name)]
AccountOption = Annotated[
    str, typer.Option("--account", help="cloud account, by the name the gateway knows it by", callback=name)
]
ProjectOption = Annotated[str, typer.Option("--project", help="project to work in", callback=name)]
TokenIdArgument = Annotated[str, typer.Argument(help="the token's id, from `pcg token list`", callback=token_id)]
PlanOption = Annotated[
    str | None,
    typer.Option(
        "--plan", metavar="HASH", callback=plan_hash, help="only by this plan, as `pcg cluster plan` has shown it"
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="do not ask; needed where there is no terminal")]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", min=0, metavar="SECONDS", help="wait no longer than that; the command goes on"),
]
