"""This file is the opening of one outbound WebSocket over a road, and what each way it may fail is called.

The library's own help is off: it would take a proxy from the environment, follow redirects, and cut a busy slow link.
"""

import ssl
from collections.abc import Iterator
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI
from websockets.uri import parse_uri

from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.answers import retry_after
from gateway.tunnel.roads import DialError, Road

OPEN_LIMIT = 20.0
CLOSE_LIMIT = 5.0

Kind = TypeVar("Kind", bound=ClientConnection)


class ConsoleNotTrustedError(GatewayError):
    """Whoever answered is not the console this appliance was paired with."""

    code = "tunnel.not_trusted"
    remedy = Remedy.OPERATOR


class CertificateRefusedError(GatewayError):
    """The console does not take this appliance's certificate."""

    code = "tunnel.certificate_refused"
    remedy = Remedy.OPERATOR


class BrokenOffError(DialError):
    """Whoever answers breaks off in the middle of the handshake: perhaps because of this appliance's certificate."""

    code = "tunnel.broken_off"


async def open_websocket(
    url: str,
    *,
    tls: ssl.SSLContext,
    road: Road,
    subprotocol: str,
    message_limit: int,
    kind: type[Kind],
) -> Kind:
    """Return an open WebSocket to `url` (wss://…) that speaks `subprotocol` and nothing else.

    Takes at most OPEN_LIMIT seconds beside the road's own limits. Raises DialError, ConsoleNotTrustedError or
    CertificateRefusedError.
    """
    try:
        where = parse_uri(url)
    except InvalidURI as fault:
        raise DialError(f"{url} is not the address of a tunnel") from fault
    if not where.secure:
        raise DialError(f"{url} is not encrypted: a tunnel's address begins with wss://")
    taken = await road.connect(where.host, where.port)
    made: list[Kind] = []

    def make(*given: Any, **named: Any) -> Kind:  # noqa: ANN401 - the library's own
        made.append(kind(*given, **named))
        return made[0]

    try:
        opened = await connect(
            url,
            sock=taken,
            ssl=tls,
            server_hostname=where.host,
            subprotocols=[subprotocol],  # type: ignore[list-item]
            compression=None,
            open_timeout=OPEN_LIMIT,
            close_timeout=CLOSE_LIMIT,
            ping_interval=None,
            max_size=message_limit,
            max_queue=4,
            proxy=None,
            create_connection=make,  # type: ignore[arg-type] # a factory will do
        )
    except (OSError, InvalidHandshake, ValueError, ConnectionClosed) as fault:
        # Why the transport was lost (an alert of TLS 1.3 comes behind the handshake) the library keeps to itself.
        lost = made[0].connection_exc if made else None
        raise named(url, fault, lost=lost) from fault
    assert isinstance(opened, kind)  # noqa: S101 - it is what create_connection made
    if opened.subprotocol != subprotocol:
        opened.transport.abort()
        await opened.wait_closed()
        raise DialError(f"whoever answers at {url} does not speak {subprotocol}: is it a console?")
    return opened


def named(url: str, fault: Exception, *, lost: BaseException | None = None) -> GatewayError:
    """Return what a failure to open a WebSocket means, in our words; `lost` is why the transport broke off."""
    for one in (*_and_causes(fault), *_and_causes(lost)):
        if isinstance(one, ssl.SSLCertVerificationError):
            return ConsoleNotTrustedError(
                f"{url} shows a certificate that is not of the console this appliance was paired with: "
                f"{one.verify_message}; look for a proxy that opens TLS"
            )
        if isinstance(one, ssl.SSLError):
            return _of_tls(url, one)
    if isinstance(fault, InvalidStatus):
        wait = retry_after(fault.response.headers.get("Retry-After")) if fault.response.status_code != 101 else None
        message = f"{url} answers {fault.response.status_code} instead of opening the tunnel"
        return DialError(message, status=fault.response.status_code, retry_after=wait)
    if isinstance(fault, InvalidMessage):
        # What a server of asyncio does with a certificate it does not take: its alert never leaves.
        return BrokenOffError(
            f"whoever answers at {url} breaks off before the tunnel opens: is this appliance's certificate still good, "
            "and is that the console's tunnel port?"
        )
    return DialError(f"cannot reach the console at {url}: {str(fault) or type(fault).__name__}")


def _of_tls(url: str, fault: ssl.SSLError) -> GatewayError:
    reason = fault.reason or "no reason given"
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return CertificateRefusedError(
            f"the console at {url} does not take this appliance's certificate ({reason.lower().replace('_', ' ')}): "
            "look at the clocks of both, and pair again if it was removed"
        )
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "RECORD_LAYER_FAILURE"}:
        return DialError(f"whoever answers at {url} does not speak TLS 1.3: look for a proxy between ({reason})")
    return DialError(f"cannot agree on TLS with {url}: {reason}")


def _and_causes(fault: BaseException | None) -> Iterator[BaseException]:
    one = fault
    for _ in range(8):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__
