"""This file is lines of an audit log as syslog carries them: RFC 5424, one message a line, its text the line itself.

::

    <109>1 2026-11-21T12:00:00.000000+00:00 dc1-gw pcg-appliance - stream.refused - {"action":"stream.refused",…}

Facility 13, log audit; severity notice, or warning for what was refused or failed. The text is ASCII on one line.
Over TCP and TLS each message has its length before it (RFC 6587 section 3.4.1, RFC 5425).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from gateway.audit import exports
from gateway.audit.lines import Entry, parsed

FACILITY: Final = 13
NOTICE: Final = 5
WARNING: Final = 4
PROGRAM: Final = "pcg-appliance"
CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
PORTS: Final = {"udp": 514, "tcp": 601, "tls": 6514}
"""RFC 5426, 6587 and 5425."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a collector of syslog is."""

    transport: str
    host: str
    port: int


def address(text: str) -> Address:
    """Read `udp://HOST[:PORT]`, `tcp://…` or `tls://…`. Raises ValueError."""
    found = urlsplit(text)
    port = found.port
    is_more = found.path not in {"", "/"} or found.query or found.fragment or found.username is not None
    if found.scheme not in PORTS or not found.hostname or is_more or port == 0:
        raise ValueError("write udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT")
    return Address(found.scheme, found.hostname, port or PORTS[found.scheme])


def message(line: bytes, *, host: str) -> bytes:
    """Return a line of the log as a message; what is no line of ours is shown in hexadecimal."""
    entry = parsed(line)
    severity = WARNING if entry is None or entry.act.outcome in {"refused", "failed"} else NOTICE
    when = "-" if entry is None else _moment(entry)
    about = "-" if entry is None else _name(entry.act.action, 32)
    head = f"<{FACILITY * 8 + severity}>1 {when} {_name(host, 255)} {PROGRAM} - {about} - "
    text = exports.line(line).removesuffix(b"\n")
    return head.encode() + (text if text.isascii() and not CONTROL.search(text) else _hex(line))


def counted(content: bytes) -> bytes:
    """Return a message with its length before it."""
    return b"%d %s" % (len(content), content)


def _hex(line: bytes) -> bytes:
    return b'{"torn":"' + line.hex().encode() + b'"}'


def _moment(entry: Entry) -> str:
    try:
        moment = datetime.fromisoformat(entry.at)
    except ValueError:
        return "-"
    return moment.isoformat() if moment.tzinfo is not None else "-"


def _name(text: str, longest: int) -> str:
    return re.sub(r"[^!-~]", "?", text)[:longest] or "-"
