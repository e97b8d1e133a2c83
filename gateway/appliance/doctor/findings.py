"""This file is everything the doctor can find: a verdict, the cause and the remedy of each, in plain words.

docs/doctor.md has the same list; a test compares them.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.kit.errors import Remedy


class Verdict(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Check(StrEnum):
    """What is looked at, in this order."""

    DNS = "dns"
    TCP = "tcp"
    PROXY = "proxy"
    CREDENTIALS = "credentials"
    TLS = "tls"
    CERTIFICATE = "certificate"
    WEBSOCKET = "websocket"
    HOLD = "hold"
    CLOCK = "clock"
    MTU = "mtu"
    THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the doctor can find. `who` is who can mend it; of a check that went well nobody needs to."""

    code: str
    verdict: Verdict
    cause: str
    remedy: str = ""
    who: Remedy = Remedy.OPERATOR


Facts = dict[str, str | float | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check has seen: its finding, the particulars in words, and the same as facts for a program."""

    finding: Finding
    seen: str
    facts: Facts = field(default_factory=dict)


NOT_REACHED = Finding("any.not_reached", Verdict.SKIPPED, "an earlier check failed that this one needs")
NOT_WANTED = Finding("any.not_wanted", Verdict.SKIPPED, "it was left out by an option")
NO_ECHO = Finding(
    "any.no_echo",
    Verdict.SKIPPED,
    "the console offers no echo now: it is of an older version, or too many are being examined at once",
    "wait a minute and try again; update the console",
)

DNS_RESOLVED = Finding("dns.resolved", Verdict.OK, "the name has addresses")
DNS_LITERAL = Finding("dns.literal", Verdict.OK, "it is an address: there is no name to look up")
DNS_UNKNOWN = Finding(
    "dns.unknown_name",
    Verdict.FAILED,
    "the name servers answer that there is no such name",
    "compare the name's spelling; add it to the name servers that this appliance asks, or give it those that know it",
)
DNS_SILENT = Finding(
    "dns.no_answer",
    Verdict.FAILED,
    "no name server answers, or none is set",
    "look at the name servers in /etc/resolv.conf, and whether UDP and TCP port 53 to them are open",
)

TCP_OPEN = Finding("tcp.open", Verdict.OK, "every address takes connections")
TCP_SOME = Finding(
    "tcp.some_addresses",
    Verdict.WARNING,
    "some of the name's addresses take no connections, so that calling may be slow",
    "take dead addresses out of the name, or open the firewall for all of them; often it is IPv6 without a route",
)
TCP_REFUSED = Finding(
    "tcp.refused",
    Verdict.FAILED,
    "the connection is refused: nothing listens there, or a firewall rejects it",
    "check that the console (or the proxy) runs and that the port is the right one; then the firewall between",
)
TCP_SILENT = Finding(
    "tcp.silent",
    Verdict.FAILED,
    "nothing answers at all: a firewall drops the packets, or the machine is off",
    "have the firewall let this appliance out to this address and port; where only a proxy may go out, set the proxy",
)
TCP_NO_ROUTE = Finding(
    "tcp.no_route",
    Verdict.FAILED,
    "the network says that there is no way to the address",
    "look at this appliance's address, netmask and default gateway",
)
TCP_TUNNEL_CLOSED = Finding(
    "tcp.tunnel_port_closed",
    Verdict.FAILED,
    "the console's API port is open, the port of its tunnel is not",
    "have the firewall open the tunnel's port too, or set the tunnel to auto or nested: it then goes through the API's",
)
TCP_TUNNEL_NESTED = Finding(
    "tcp.tunnel_port_nested",
    Verdict.WARNING,
    "the port of the console's tunnel is closed; the tunnel travels nested, through the API's port",
    "nothing needs to be done; with the tunnel's port open the tunnel is faster",
)

PROXY_NONE = Finding("proxy.none", Verdict.SKIPPED, "no proxy is set: the appliance calls directly")
PROXY_CONNECTED = Finding("proxy.connected", Verdict.OK, "the proxy connects to the console")
PROXY_ASKS = Finding("proxy.asks", Verdict.OK, "the proxy answers, and asks who calls")
PROXY_UNREACHABLE = Finding(
    "proxy.unreachable",
    Verdict.FAILED,
    "the proxy cannot be reached",
    "compare the proxy's address and port; ask whether this appliance may use it",
)
PROXY_REFUSED = Finding(
    "proxy.refused",
    Verdict.FAILED,
    "the proxy does not connect to the console: a rule of the proxy forbids it, or it cannot reach the console itself",
    "have the proxy's rules allow CONNECT to the console's host and ports; or set the tunnel to nested, for one port",
)
PROXY_TUNNEL_NESTED = Finding(
    "proxy.tunnel_port_nested",
    Verdict.WARNING,
    "the proxy connects to the console's API but not to the tunnel's port; the tunnel travels nested",
    "nothing needs to be done; with the tunnel's port allowed the tunnel is faster",
)
PROXY_BROKEN = Finding(
    "proxy.broken",
    Verdict.FAILED,
    "what answers does not speak as a proxy of this kind does",
    "compare the proxy's kind (http:// or socks5://) and its port",
)

CREDENTIALS_NONE = Finding("credentials.no_proxy", Verdict.SKIPPED, "no proxy is set: there is nobody to sign in to")
CREDENTIALS_UNASKED = Finding("credentials.not_asked", Verdict.OK, "the proxy asks nobody to sign in")
CREDENTIALS_ACCEPTED = Finding("credentials.accepted", Verdict.OK, "the proxy connects with the credentials given")
CREDENTIALS_MISSING = Finding(
    "credentials.missing",
    Verdict.FAILED,
    "the proxy asks for user and password, and none are given",
    "put USER:PASSWORD in a file of mode 0600 and name it as the proxy's credentials file",
)
CREDENTIALS_WRONG = Finding(
    "credentials.wrong",
    Verdict.FAILED,
    "the proxy does not take the user and password given, or takes only another way to sign in (NTLM, Kerberos)",
    "mend the credentials file, or have the proxy offer Basic; for NTLM or Kerberos run a relay such as px or cntlm",
)

TLS_CONSOLE = Finding("tls.console", Verdict.OK, "the certificate is the console's, from its own authority")
TLS_OPENED_NESTED = Finding(
    "tls.opened_nested",
    Verdict.WARNING,
    "a proxy or a firewall between opens TLS and shows a certificate of its own; the tunnel travels nested, and stays"
    " closed for whoever does that",
    "nothing needs to be done; with the console's host exempted from inspection the tunnel is faster",
)
TLS_OPENED = Finding(
    "tls.opened",
    Verdict.FAILED,
    "the certificate is not from the console's authority: a proxy or a firewall between opens TLS and shows its own",
    "set the tunnel to auto or nested, which goes through it unread; or have the console's host exempted from"
    " inspection",
)
TLS_OPENER_UNKNOWN = Finding(
    "tls.opener_unknown",
    Verdict.FAILED,
    "a proxy or a firewall between opens TLS, and its authority is not known to this machine",
    "put the authority of whoever opens TLS into a file and name it in the setting outer_trust; if nobody should, the"
    " name leads to somebody else than the console",
)
TLS_API_OPENED = Finding(
    "tls.api_opened",
    Verdict.WARNING,
    "a proxy or a firewall between opens TLS on the API's port; the tunnel's port it leaves alone, and the tunnel goes"
    " there",
    "nothing needs to be done once the appliance is paired",
)
TLS_TUNNEL_NESTED = Finding(
    "tls.tunnel_cut",
    Verdict.WARNING,
    "the tunnel's port is open, but no TLS comes about on it; the tunnel travels nested",
    "ask whether a firewall lets only known applications through to the tunnel's port",
)
TLS_UNJUDGED = Finding(
    "tls.unjudged",
    Verdict.WARNING,
    "nothing here knows the console's authority, so that it cannot be told whether the certificate is the right one",
    "compare issuer and pin with what the console prints at its start; or give a registration token",
)
TLS_OTHER_AUTHORITY = Finding(
    "tls.other_authority",
    Verdict.FAILED,
    "whoever answers is a console with another authority than the one in the registration token",
    "look whether the name leads to the right console; if it does, ask for a new token",
)
TLS_OTHER_NAME = Finding(
    "tls.other_name",
    Verdict.FAILED,
    "the certificate is from the console's authority, but not for this name",
    "call the console by a name that it was started with (`pcg console run --hosts`), or have this one added there",
)
TLS_WRONG_TIME = Finding(
    "tls.wrong_time",
    Verdict.FAILED,
    "the certificate is not valid at this time by this appliance's clock",
    "set this appliance's clock (NTP); if it is right, restart the console, which makes itself a new certificate",
)
TLS_NO_ANSWER = Finding(
    "tls.no_handshake",
    Verdict.FAILED,
    "the connection is made, but no TLS 1.2 or newer comes about: no TLS is spoken there, or something between cuts it",
    "compare the port; ask whether a firewall lets only known applications through",
)

CERTIFICATE_ACCEPTED = Finding("certificate.accepted", Verdict.OK, "the console takes this appliance's certificate")
CERTIFICATE_EXPIRES = Finding(
    "certificate.expires_soon",
    Verdict.WARNING,
    "this appliance's certificate ends within two days and should have been renewed by now",
    "look at the running appliance's log for why the console does not renew it; one that is stopped need only be "
    "started",
)
CERTIFICATE_EXPIRED = Finding(
    "certificate.expired",
    Verdict.FAILED,
    "this appliance's certificate has ended",
    "start the appliance: it comes back by itself, also after years; if it does not, its log and `pcg gateway show` on "
    "the console say what a person has to do",
)
CERTIFICATE_REFUSED = Finding(
    "certificate.refused",
    Verdict.FAILED,
    "the console does not take this appliance's certificate",
    "look at `pcg gateway show` on the console; a gateway that was removed or revoked is paired again with a new "
    "registration token, and otherwise a running appliance comes back by itself",
)
CERTIFICATE_UNREADABLE = Finding(
    "certificate.unreadable",
    Verdict.FAILED,
    "this appliance's own certificate or key cannot be read",
    "restore the appliance's state directory, or pair again with a new registration token",
)
CERTIFICATE_CUT = Finding(
    "certificate.cut",
    Verdict.FAILED,
    "the connection ends without a word once the certificate was shown: most often the console does not take it",
    "look whether the gateway was removed from the console, and at the console's log; if it is there and well, a"
    " firewall that lets only known applications through may cut the connection",
)
CERTIFICATE_NOT_PAIRED = Finding(
    "certificate.not_paired", Verdict.SKIPPED, "the appliance is not paired yet and has no certificate", "pair it"
)

WEBSOCKET_OPEN = Finding("websocket.open", Verdict.OK, "a WebSocket opens, and bytes come back through it")
WEBSOCKET_REFUSED = Finding(
    "websocket.refused",
    Verdict.FAILED,
    "the request for a WebSocket is answered otherwise: something between does not let WebSockets through",
    "have the proxy or load balancer pass the headers Upgrade and Connection, and keep HTTP/1.1 towards the console",
)
WEBSOCKET_CUT = Finding(
    "websocket.cut",
    Verdict.FAILED,
    "the connection ends, or falls silent, while or right after a WebSocket opens",
    "ask whether a proxy or firewall between allows WebSockets to the console",
)

HOLD_SURVIVED = Finding("hold.survived", Verdict.OK, "a connection without traffic stays open")
HOLD_SHORT = Finding(
    "hold.cut_early",
    Verdict.FAILED,
    "something between cuts a quiet connection before the appliance would speak by itself (every 15 seconds)",
    "have idle limits of firewalls, proxies and load balancers on the way raised to 60 seconds or more",
)
HOLD_LATE = Finding(
    "hold.cut_late",
    Verdict.WARNING,
    "something between cuts quiet connections; the tunnel speaks every 15 seconds and so is not cut",
    "nothing needs to be done; other programs on this road may want the idle limit raised",
)
HOLD_FORGOTTEN = Finding(
    "hold.forgotten",
    Verdict.WARNING,
    "a quiet connection looks open but is dead: something between (often NAT) has forgotten it and told nobody",
    "have the idle limit of NAT and firewalls on the way raised; the tunnel speaks every 15 seconds and so is not cut",
)
HOLD_CONSOLE = Finding(
    "hold.console_closed",
    Verdict.WARNING,
    "the console itself has closed the connection: it was stopped or restarted",
    "try again",
    Remedy.RETRY,
)

CLOCK_RIGHT = Finding("clock.right", Verdict.OK, "this appliance's clock agrees with the console's")
CLOCK_OFF = Finding(
    "clock.off",
    Verdict.WARNING,
    "this appliance's clock is more than 5 seconds off the console's",
    "set up NTP (chrony or systemd-timesyncd) on the one that is wrong",
)
CLOCK_WRONG = Finding(
    "clock.wrong",
    Verdict.FAILED,
    "this appliance's clock is more than a minute off the console's: certificates of others, such as vCenter's, may "
    "not hold, and logs are wrong (the tunnel goes by the console's clock alone)",
    "set up NTP (chrony or systemd-timesyncd) on the one that is wrong",
)
CLOCK_UNKNOWN = Finding(
    "clock.unknown", Verdict.SKIPPED, "no answer told the console's time", "compare the clocks by hand"
)

MTU_WHOLE = Finding("mtu.whole", Verdict.OK, "small and large messages come back alike")
MTU_BLACK_HOLE = Finding(
    "mtu.black_hole",
    Verdict.FAILED,
    "small messages pass and large ones are lost: packets over some size are dropped and nobody is told",
    "let ICMP 'fragmentation needed' and ICMPv6 'packet too big' through; or lower the MTU here to what a VPN on the"
    " way leaves, or clamp the MSS there",
)
MTU_CUT = Finding(
    "mtu.cut",
    Verdict.FAILED,
    "the connection was cut while messages of several sizes were sent",
    "look for a proxy or firewall that limits or examines WebSocket messages",
)

THROUGHPUT_GOOD = Finding("throughput.measured", Verdict.OK, "bytes move both ways")
THROUGHPUT_SLOW = Finding(
    "throughput.slow",
    Verdict.WARNING,
    "less than 1 Mbit/s moves one way",
    "look at the line, its load, and at limits of a proxy on the way",
)
THROUGHPUT_STALLED = Finding(
    "throughput.stalled",
    Verdict.FAILED,
    "the connection opens, but a larger amount of bytes does not get through",
    "look for a proxy that collects everything before it passes it on, and at losses on the line",
)

FINDINGS: tuple[Finding, ...] = tuple(one for one in list(globals().values()) if isinstance(one, Finding))
"""Every finding above."""
