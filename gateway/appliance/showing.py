"""This file is `pcg appliance status`: who this appliance is, and how it stands with its console."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import typer

from gateway.appliance import lately
from gateway.appliance.identity import Identity, Joined, NotPairedError
from gateway.appliance.lane import HaltFile
from gateway.appliance.lately import LARGEST_OFFSET, Lately
from gateway.identity import words
from gateway.kit import moments
from gateway.kit.errors import GatewayError
from gateway.kit.plain import plain

Document = dict[str, object]


def document(state: Path, *, accounts: list[str], targets: list[str]) -> Document:
    """Return all that is known, for programs. Raises NotPairedError when what is kept is damaged."""
    identity = Identity.open(state)
    known = identity.joined()
    offers: Document = {"accounts": accounts, "targets": targets}
    if known is None:
        return {"paired": False, **offers}
    return {"paired": True, **_who(identity, known), **_how(lately.read(state)), "halted": _halt(state), **offers}


def show(found: Document) -> None:
    """Print it for people."""
    for line in _lines(found):
        typer.echo(plain(line))


def show_json(found: Document) -> None:
    """Print it for programs."""
    sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=True, default=str) + "\n")


def _who(identity: Identity, known: Joined) -> Document:
    return {
        "gateway": known.gateway_name,
        "gateway_id": str(known.gateway_id),
        "console": known.console,
        "fingerprint": _fingerprint(identity),
        "certificate": _certificate(identity),
        "certificates_had": known.join.number,
        "epoch": known.epoch,
        "trust_version": known.trust.version,
        "console_time": known.told and moments.stamp(known.told),
    }


def _fingerprint(identity: Identity) -> str | None:
    try:
        return words.fingerprint(identity.device().public_pem)
    except GatewayError:
        return None


def _certificate(identity: Identity) -> Document | None:
    try:
        found = identity.certificate()
    except NotPairedError:
        return None
    began, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return {"serial": f"{found.serial_number:x}", "not_before": moments.stamp(began), "not_after": moments.stamp(ends)}


def _how(found: Lately) -> Document:
    return {
        "welcomed_at": found.welcomed_at and moments.stamp(found.welcomed_at),
        "clock_offset_seconds": found.clock_offset,
        "failure": found.failure and found.failure.model_dump() | {"at": moments.stamp(found.failure.at)},
    }


def _halt(state: Path) -> Document | None:
    halt = HaltFile(state).read()
    return None if halt is None else {"since": halt.since.isoformat(), "reasons": halt.reasons}


def _lines(found: Document) -> Iterator[str]:
    if found["paired"]:
        yield f"Paired with {found['console']} as {found['gateway']}."
        yield f"Fingerprint: {found['fingerprint'] or 'the device key cannot be read'}."
        yield from _state(found)
    else:
        yield "Not paired."
    yield f"Cloud accounts: {_listed(found['accounts'])}."
    yield f"Targets: {_listed(found['targets'])}."


def _state(found: Document) -> Iterator[str]:
    certificate, failure, offset = found["certificate"], found["failure"], found["clock_offset_seconds"]
    if isinstance(certificate, dict):
        yield f"Certificate: {certificate['serial']}, until {_minute(certificate['not_after'])}."
    else:
        yield "Certificate: it cannot be read."
    yield f"Last welcomed by the console: {_minute(found['welcomed_at']) if found['welcomed_at'] else 'not yet'}."
    if isinstance(failure, dict):
        yield f"Since {_minute(failure['at'])}: {failure['message']} ({failure['code']})."
    if isinstance(halt := found["halted"], dict):
        yield f"No new commands are taken since {halt['since']}: the console knows less than before:"
        yield from (f"  {one}." for one in halt["reasons"])
        yield "Look at what waits at the console, then: pcg gateway release there, or pcg appliance resume here."
    if isinstance(offset, float) and abs(offset) > LARGEST_OFFSET:
        yield f"This machine's clock was {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the console's."


def _minute(stamp: object) -> str:
    return moments.minute(datetime.fromisoformat(str(stamp)))


def _listed(names: object) -> str:
    return ", ".join(names) if isinstance(names, list) and names else "none"
