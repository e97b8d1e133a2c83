"""This file is what is seen over TLS: the certificate that is shown, and plain HTTP answers, through any road."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import h11
from cryptography import x509

from gateway.appliance.doctor.subject import Place
from gateway.appliance.doctor.verdicts import Shown
from gateway.identity import tls
from gateway.kit.errors import GatewayError
from gateway.tunnel.roads import Road

BODY_LIMIT = 64 * 1024
UNSPECIFIED = 1
"""X509_V_ERR_UNSPECIFIED: here, that TLS does not come about as the console would do it (version 1.3)."""
UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "cGNnIGRvY3RvciBhc2tzLg=="),
    ("Sec-WebSocket-Protocol", "pcg.doctor.v1"),
)
"""Asks for a subprotocol that no console speaks: it answers, and takes nobody for the appliance."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def any_tls() -> ssl.SSLContext:
    """Return a context that trusts everybody and also speaks TLS 1.2: what opens TLS often speaks no other."""
    context = tls.unchecked()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@asynccontextmanager
async def secured(
    road: Road, place: Place, context: ssl.SSLContext, *, within: float
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open TLS at a place while the body runs. Raises OSError (ssl.SSLError is one) or the road's GatewayError."""
    connected = await road.connect(place.host, place.port)
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(sock=connected, ssl=context, server_hostname=place.host)
    except BaseException:
        connected.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def shown(
    road: Road, place: Place, *, trust: ssl.SSLContext | None, outer: ssl.SSLContext, within: float
) -> Shown:
    """Return the certificate that is shown at a place, and what is wrong with it by `trust` and by `outer`."""
    try:
        async with secured(road, place, any_tls(), within=within) as (_, writer):
            found: ssl.SSLObject = writer.get_extra_info("ssl_object")
            leaf = x509.load_der_x509_certificate(found.getpeercert(binary_form=True) or b"")
        fault = 0 if trust is None else await _fault(road, place, trust, within=within)
        outer_fault = await _fault(road, place, outer, within=within) if fault else 0
    except (OSError, ValueError, GatewayError) as error:
        return Shown(place.text, broken=f"no TLS: {in_words(error)}", tunnel=place.tunnel)
    names = leaf.subject.rfc4514_string(), leaf.issuer.rfc4514_string()
    return Shown(place.text, names[0][:200], names[1][:200], fault, outer_fault, tunnel=place.tunnel)


async def _fault(road: Road, place: Place, context: ssl.SSLContext, *, within: float) -> int:
    try:
        async with secured(road, place, context, within=within):
            return 0
    except ssl.SSLCertVerificationError as error:
        return error.verify_code
    except (ssl.SSLError, ConnectionError):  # many a server that speaks no TLS 1.3 just cuts
        return UNSPECIFIED


async def ask(
    road: Road,
    place: Place,
    path: str,
    *,
    context: ssl.SSLContext,
    within: float,
    headers: Sequence[tuple[str, str]] = (("Connection", "close"),),
) -> Answer:
    """GET a path and return the answer, its body no further than BODY_LIMIT.

    Raises OSError (what TLS says against a client's certificate is an ssl.SSLError) or the road's GatewayError.
    """
    talk = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=path, headers=[("Host", place.text), *headers])
    async with asyncio.timeout(within), secured(road, place, context, within=within) as (reader, writer):
        writer.write((talk.send(request) or b"") + (talk.send(h11.EndOfMessage()) or b""))
        try:
            return await _answer(talk, reader)
        except h11.RemoteProtocolError as fault:
            raise ConnectionError("the answer is no HTTP") from fault


async def _answer(talk: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    head: h11.Response | h11.InformationalResponse | None = None
    body = b""
    while len(body) <= BODY_LIMIT:
        event = talk.next_event()
        if event is h11.NEED_DATA:
            piece = await reader.read(16 * 1024)
            if not piece and head is None:
                break
            talk.receive_data(piece)
        elif isinstance(event, h11.Response) or (
            isinstance(event, h11.InformationalResponse) and event.status_code == 101
        ):
            head = event
            if event.status_code == 101:
                break
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
            break
    if head is None:
        raise ConnectionError("the connection ended without an answer")
    return Answer(head.status_code, {name.decode(): value.decode("latin-1") for name, value in head.headers}, body)


def in_words(error: BaseException) -> str:
    """Return what an error says, in one line that holds no address of memory and no traceback."""
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case ssl.SSLError():
            return (error.reason or "TLS failed").lower().replace("_", " ")
        case TimeoutError():
            return "no answer in time"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case GatewayError():
            return error.message
    return str(error) or type(error).__name__
