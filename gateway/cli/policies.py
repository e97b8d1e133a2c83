"""This file is `pcg gateway policy`: what the console knows of a site's policy, what it proposes, what it narrows."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.text import Text

from gateway.cli import tables
from gateway.cli.arguments import GatewayName, InputInvalidError, path
from gateway.cli.client import Client
from gateway.cli.options import OutputOption, told, with_client
from gateway.cli.plain import plain
from gateway.cli.tables import Output
from gateway.console.api.policymodels import NewProposal, SitePolicyView
from gateway.contract import documents
from gateway.contract.documents import DocumentError, Kind
from gateway.contract.policy import POLICY_LIMIT, Policy, Tightening

POLICY = Kind("policy", "docs/policy.md")
TIGHTENING = Kind("tightening", "docs/policy.md")

Shape = TypeVar("Shape", bound=BaseModel)


class PolicyFileError(InputInvalidError):
    """The file says something that cannot be right."""

    code = "cli.policy_file_invalid"


def add_to(application: typer.Typer) -> None:
    """Add the command to those of `pcg gateway`."""
    application.command("policy")(policy)


def policy(
    name: GatewayName,
    propose: Annotated[
        Path | None, typer.Option("--propose", help="propose this policy file; the site accepts it, or does not")
    ] = None,
    tighten: Annotated[
        Path | None, typer.Option("--tighten", help="narrow what may be done by this file: a policy without a profile")
    ] = None,
    take_back: Annotated[bool, typer.Option("--take-back", help="take the proposal back")] = False,
    untighten: Annotated[bool, typer.Option("--untighten", help="end the tightening")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show by what policy a gateway's site judges commands; propose another one, or narrow it.

    The console never sees the policy, and cannot loosen it: it is changed on the appliance alone.
    """
    with told(output):
        method, where, body = _wished(propose, tighten, take_back=take_back, untighten=untighten)

    async def work(client: Client) -> None:
        there = path("gateways", name, "policy", *where)
        found = await client.ask(method, there, SitePolicyView, body=body)
        tables.show(found, _picture(found), output)

    with_client(work, output=output)


def _wished(
    propose: Path | None, tighten: Path | None, *, take_back: bool, untighten: bool
) -> tuple[str, tuple[str, ...], BaseModel | None]:
    if sum((propose is not None, tighten is not None, take_back, untighten)) > 1:
        raise InputInvalidError("only one of --propose, --tighten, --take-back and --untighten at a time")
    if propose is not None:
        text = _content(propose)
        _parsed(text, Policy, propose, POLICY)
        return "PUT", ("proposal",), NewProposal(policy=text.decode())
    if tighten is not None:
        return "PUT", ("tightening",), _parsed(_content(tighten), Tightening, tighten, TIGHTENING)
    if take_back:
        return "DELETE", ("proposal",), None
    return ("DELETE", ("tightening",), None) if untighten else ("GET", (), None)


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(POLICY_LIMIT + 1)
    except OSError as fault:
        raise PolicyFileError(f"cannot read {file}: {fault.strerror}") from fault
    if len(content) > POLICY_LIMIT:
        raise PolicyFileError(f"{file} is over {POLICY_LIMIT // 1024} KiB: is it a policy?")
    return content


def _parsed(content: bytes, model: type[Shape], file: Path, kind: Kind) -> Shape:
    try:
        return documents.parse(content, model, name=str(file), kind=kind)
    except DocumentError as fault:
        raise PolicyFileError(fault.message) from fault


def _picture(found: SitePolicyView) -> RenderableType:
    lines = [f"Gateway {found.gateway}: {_standing(found)}"]
    if found.paused:
        lines.append("The site is paused: it takes no commands for now.")
    if (tightening := found.tightening) is not None:
        state = "in force" if tightening.in_force else "not yet at the gateway"
        lines.append(f"Tightened by {tightening.author}, {state}:")
        lines.append(tightening.tightening.model_dump_json(exclude_defaults=True))
    if (proposal := found.proposal) is not None:
        state = "at the gateway" if proposal.delivered else "not yet at the gateway"
        lines.append(f"Proposed by {proposal.author}, {state}; the site accepts it with")
        lines.append(f"  pcg appliance policy accept {proposal.sha256[:16]}")
        lines += proposal.policy.rstrip("\n").split("\n")
    return Group(*(Text(plain(line)) for line in lines))


def _standing(found: SitePolicyView) -> str:
    if found.profile is None:
        return "it has not said by what policy its site judges."
    if found.sha256 is None:
        return "its site's policy cannot be read, so nothing is allowed."
    return f"profile {found.profile}, SHA-256 {found.sha256}."
