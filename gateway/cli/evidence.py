"""This file is `pcg audit export` and `pcg audit verify`: the audit log for somebody who believes nobody.

Verifying needs neither a console nor an appliance: an export holds the lines, the roots and the public key.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated

import typer

from gateway.appliance.audit import AuditLog
from gateway.appliance.identity import Identity, NotPairedError
from gateway.appliance.notary import Notary
from gateway.audit import exports, judging
from gateway.audit.exports import ExportUnreadableError, Origin
from gateway.audit.judging import Finding
from gateway.cli.arguments import InputInvalidError
from gateway.cli.client import Client
from gateway.cli.options import OutputOption, told, with_client
from gateway.cli.plain import plain
from gateway.cli.tables import Output
from gateway.console.api.auditmodels import AuditPage, AuditRoots
from gateway.identity import words
from gateway.kit import files
from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError

PAGE = 1000


def export(
    *,
    file: Annotated[Path, typer.Option("--output", help="file that is written, or - for standard output")],
    state: Annotated[
        Path | None,
        typer.Option("--state", help="an appliance's state directory; without it the console's log is exported"),
    ] = None,
) -> None:
    """Export an audit log as JSON lines, with its signed roots and the public key: see `pcg audit verify`.

    The log is signed first, so that the export is proven up to its end.
    """
    if state is None:
        with_client(lambda client: _from_console(client, file))
    else:
        with told():
            _write(file, _from_appliance(state))


def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="an export, or an appliance's state directory")],
    *,
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", help="PEM file of the public key that must have signed; may be repeated"),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell whether an audit log is as it was written: the first broken line, and what follows from it. Exit 0 or 1.

    Whoever has signed is named by the six words that the console and `pcg appliance status` show.
    """
    with told(output):
        finding = _judged(path, [one.read_text() for one in key or ()])
        _show(finding, output)
    if finding.broken is not None:
        raise typer.Exit(1)


def _judged(path: Path, keys: list[str]) -> Finding:
    if not path.is_dir():
        found = exports.read(path)
        finding = judging.judge(found.lines, found.roots, only=keys)
        return judging.with_rows(finding, found.differs)
    if not any((path / name).exists() for name in ("audit.log", "audit.roots", "audit.log.000001")):
        raise InputInvalidError(
            f"{path} is no appliance's state directory with an audit log; of a console's log make an export first: "
            "pcg audit export --output FILE"
        )
    log = AuditLog(path, clock=SystemClock())
    return judging.judge(log.lines, log.roots(), only=keys)


def _show(finding: Finding, output: Output) -> None:
    who = [words.fingerprint(key) for key in finding.keys]
    if output is Output.JSON:
        document = asdict(finding) | {"fingerprints": who, "told": judging.in_words(finding)}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")
        return
    for line in [*judging.in_words(finding), *(f"Signed by {one}." for one in who)]:
        typer.echo(plain(line))


async def _from_console(client: Client, file: Path) -> None:
    signed = await client.ask("POST", "/audit/roots", AuditRoots)
    beside = [root.plain for root in signed.roots]
    with _opened(file) as out:
        out.write(exports.head(Origin("console", signed.log, signed.key), now=SystemClock().now()))
        after, lines, differs = 0, 0, []
        while (page := await client.ask("GET", f"/audit/lines?after={after}&limit={PAGE}", AuditPage)).items:
            for one in page.items:
                out.write(exports.line(one.line.encode()))
                lines += 1
                differs += [one.number] if one.differs else []
            after = page.items[-1].number
        out.write(exports.tail(beside, lines=lines, differs=differs))


def _from_appliance(state: Path) -> Iterator[bytes]:
    clock = SystemClock()
    log = AuditLog(files.make_private_directory(state), clock=clock)
    identity = Identity.open(state)
    name, key = "", None
    with suppress(NotPairedError):  # its log is there all the same
        name, key = str(identity.member().gateway_id), identity.device().public_pem
        _sign(log, identity)
    yield exports.head(Origin("appliance", name, key), now=clock.now())
    lines = 0
    for _, line in log.lines():
        lines += 1
        yield exports.line(line)
    yield exports.tail(log.roots(), lines=lines)


def _sign(log: AuditLog, identity: Identity) -> None:
    """Sign the log's present end; an export that cannot be signed, as on a full disk, is better than none."""
    try:
        notary = Notary(log, lambda: (str(identity.member().gateway_id), identity.device()), clock=SystemClock())
        notary.sign("export")
    except GatewayError as fault:
        sys.stderr.write(f"not signed up to its end: {plain(fault.message)}\n")


def _write(file: Path, content: Iterable[bytes]) -> None:
    with _opened(file) as out:
        out.writelines(content)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """Open what is written to; a file that already is there is not written over."""
    if str(file) == "-":
        yield sys.stdout.buffer
        return
    try:
        out = file.open("xb")
    except FileExistsError as fault:
        raise ExportUnreadableError(f"{file} is there already: choose another name") from fault
    with out:
        file.chmod(files.PRIVATE_FILE)
        yield out
