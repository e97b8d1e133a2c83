"""This file is what is made of the things the probes have seen. It is pure: facts in, a finding in plain words out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gateway.appliance.doctor import findings
from gateway.appliance.doctor.findings import Finding, Seen

TOLERATED_OFFSET = 5.0
LARGEST_OFFSET = 60.0
EXPIRY_NOTICE = timedelta(days=2)
"""A certificate that has less left was to be renewed a day ago at least: half of its seven days, or a bit more."""
SPOKEN_EVERY = 20.0
"""Seconds: the tunnel's 15 seconds of quiet, and something for a slow answer."""
SLOW = 1_000_000.0
"""Bits a second."""
REFUSING = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "BAD_CERTIFICATE")
"""What the alerts are called with which a TLS server turns a client's certificate down (RFC 8446, 6.2)."""
OTHER_HOST = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h."""
WRONG_TIME = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


class Knocked(StrEnum):
    """How an address answers a TCP connection."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"
    NO_ROUTE = "no route"


@dataclass(frozen=True, slots=True)
class Knock:
    """One address and port, and how it answered. `tunnel` tells the tunnel's port from the API's."""

    address: str
    port: int
    answer: Knocked
    tunnel: bool = False

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port} {self.answer}"


def tcp(knocks: list[Knock], *, may_nest: bool = False) -> Seen:
    """Judge how addresses answer: open for the API and for the tunnel, with at least one address each, or not.

    With `may_nest` the appliance finds the way through the API's port by itself.
    """
    seen = ", ".join(str(one) for one in knocks)
    lost = [one for one in knocks if one.answer is not Knocked.OPEN]
    if not lost:
        return Seen(findings.TCP_OPEN, seen)
    opened = {one.tunnel for one in knocks if one.answer is Knocked.OPEN}
    asked = {one.tunnel for one in knocks}
    if opened == asked:
        return Seen(findings.TCP_SOME, seen)
    if opened == {False}:
        return Seen(findings.TCP_TUNNEL_NESTED if may_nest else findings.TCP_TUNNEL_CLOSED, seen)
    return Seen(_tcp_worst({one.answer for one in lost}), seen)


def _tcp_worst(answers: set[Knocked]) -> Finding:
    if Knocked.REFUSED in answers:
        return findings.TCP_REFUSED
    return findings.TCP_SILENT if Knocked.SILENT in answers else findings.TCP_NO_ROUTE


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that somebody shows at `place`, or that none came about.

    `fault` is OpenSSL's verify code against the console's authority, 0 when it holds; `outer_fault` the same against
    whom this machine would let carry a nested tunnel.
    """

    place: str
    subject: str = ""
    issuer: str = ""
    fault: int = 0
    outer_fault: int = 0
    broken: str = ""
    tunnel: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.broken or f'{self.subject}, issued by {self.issuer}'}"


class May(StrEnum):
    """What the settings say about travelling nested."""

    NEVER = "direct"
    IF_NEEDED = "auto"
    ALWAYS = "nested"


def tls(shown: list[Shown], *, nested: May) -> Seen:
    """Judge the certificates seen by a caller who knows the console's authority: by the worst of them."""
    seen = "; ".join(str(one) for one in shown)
    bad = [one for one in shown if one.broken or one.fault]
    if not bad:
        return Seen(findings.TLS_CONSOLE, seen)
    worst = min(bad, key=lambda one: (one.tunnel, not one.broken))
    facts: findings.Facts = {"issuer": worst.issuer} if worst.issuer else {}
    if worst.broken:
        only_tunnel = worst.tunnel and nested is May.IF_NEEDED
        return Seen(findings.TLS_TUNNEL_NESTED if only_tunnel else findings.TLS_NO_ANSWER, seen)
    return Seen(_tls_fault(worst, shown, nested=nested), seen, facts)


def _tls_fault(worst: Shown, shown: list[Shown], *, nested: May) -> Finding:
    if worst.fault in OTHER_HOST:
        return findings.TLS_OTHER_NAME
    if worst.fault in WRONG_TIME:
        return findings.TLS_WRONG_TIME
    if any(one.tunnel for one in shown) and not worst.tunnel and not any(one.tunnel and one.fault for one in shown):
        return findings.TLS_API_OPENED
    if nested is May.NEVER:
        return findings.TLS_OPENED
    # What carries a nested tunnel is the API's port.
    unknown = any(one.outer_fault for one in shown if not one.tunnel)
    return findings.TLS_OPENER_UNKNOWN if unknown else findings.TLS_OPENED_NESTED


def unjudged(shown: list[Shown], *, pin: str) -> Seen:
    """Judge certificates that nothing here can be compared with. `pin` is of the authority that is claimed, if any."""
    seen = "; ".join(str(one) for one in shown)
    if any(one.broken for one in shown):
        return Seen(findings.TLS_NO_ANSWER, seen)
    claimed = f"; the authority it claims has the pin {pin}" if pin else ""
    return Seen(findings.TLS_UNJUDGED, f"{seen}{claimed}", {"claimed_pin": pin or None})


def certificate(status: int | None, alert: str, *, until: datetime, now: datetime) -> Seen:
    """Judge how the tunnel's port answers a caller that shows the appliance's certificate.

    `status` is that of an HTTP answer, whatever it says: without the certificate there would be none, also when this
    machine's clock thinks that it has ended. `alert` is what TLS said instead.
    """
    seen = f"valid until {until:%Y-%m-%d %H:%M} UTC"
    facts: findings.Facts = {"not_after": until.isoformat()}
    if status is None and until <= now:
        return Seen(findings.CERTIFICATE_EXPIRED, seen, facts)
    if status is None and any(word in alert.upper().replace(" ", "_") for word in REFUSING):
        return Seen(findings.CERTIFICATE_REFUSED, f"the console says {alert}; {seen}", facts)
    if status is None:
        return Seen(findings.CERTIFICATE_CUT, f"{alert or 'no answer'}; {seen}", facts)
    if timedelta(0) < until - now < EXPIRY_NOTICE:
        return Seen(findings.CERTIFICATE_EXPIRES, seen, facts)
    return Seen(findings.CERTIFICATE_ACCEPTED, seen, facts)


class Ended(StrEnum):
    """How a quiet connection came to its end."""

    NOT = "it is open"
    CUT = "it was cut without a word"
    CLOSED = "it was closed with a WebSocket's good-bye"
    DEAD = "it looked open, and nothing came back"


def hold(ended: Ended, *, after: float, wished: float, road: str) -> Seen:
    """Judge how a connection without traffic ended, `after` so many seconds."""
    facts: findings.Facts = {"after_seconds": round(after, 1), "wished_seconds": wished}
    match ended:
        case Ended.NOT:
            return Seen(findings.HOLD_SURVIVED, f"{wished:g} s without traffic, then an echo came back", facts)
        case Ended.CLOSED:
            return Seen(findings.HOLD_CONSOLE, f"after {after:.1f} s: {ended}", facts)
        case Ended.DEAD:
            return Seen(findings.HOLD_FORGOTTEN, f"after {wished:g} s without traffic {ended}; {road}", facts)
        case Ended.CUT:
            finding = findings.HOLD_SHORT if after < SPOKEN_EVERY else findings.HOLD_LATE
            return Seen(finding, f"after {after:.1f} s {ended}; {road}", facts)


def clock(offset: float | None) -> Seen:
    """Judge by how many seconds this clock is ahead of the console's."""
    if offset is None:
        return Seen(findings.CLOCK_UNKNOWN, "no header Date")
    seen = f"{abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the console (to about a second)"
    facts: findings.Facts = {"offset_seconds": round(offset, 1)}
    if abs(offset) > LARGEST_OFFSET:
        return Seen(findings.CLOCK_WRONG, seen, facts)
    return Seen(findings.CLOCK_OFF if abs(offset) > TOLERATED_OFFSET else findings.CLOCK_RIGHT, seen, facts)


def mtu(passed: list[int], lost: int | None, *, cut: bool, kernel: int | None) -> Seen:
    """Judge which sizes came back. `lost` is the first that did not, `cut` whether the connection ended over it."""
    facts: findings.Facts = {"largest_passed": max(passed, default=0), "lost": lost, "kernel_mtu": kernel}
    known = f"; the kernel's MTU of the path is {kernel}" if kernel else ""
    if lost is None:
        return Seen(findings.MTU_WHOLE, f"messages of {', '.join(map(str, passed))} bytes came back{known}", facts)
    seen = f"{lost} bytes did not come back, {max(passed, default=0)} did{known}"
    return Seen(findings.MTU_CUT if cut or not passed else findings.MTU_BLACK_HOLE, seen, facts)


def throughput(up: float | None, down: float | None) -> Seen:
    """Judge bits a second each way; None is what never arrived."""
    facts: findings.Facts = {
        "up_mbit": None if up is None else round(up / 1e6, 2),
        "down_mbit": None if down is None else round(down / 1e6, 2),
    }
    seen = f"up {_rate(up)}, down {_rate(down)}"
    if up is None or down is None:
        return Seen(findings.THROUGHPUT_STALLED, seen, facts)
    return Seen(findings.THROUGHPUT_SLOW if min(up, down) < SLOW else findings.THROUGHPUT_GOOD, seen, facts)


def _rate(bits: float | None) -> str:
    return "nothing" if bits is None else f"{bits / 1e6:.1f} Mbit/s"
