"""This file is how a console's authority is fetched from the console itself and believed only by its pin.

Whoever answers may say anything, so of the answer only one certificate is taken, written anew by us: a second one
behind it would be trusted too, and whoever stands between could have brought it.
"""

from dataclasses import dataclass

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.identity import tls
from gateway.identity.certificates import spki_pin
from gateway.kit.answers import read_whole
from gateway.kit.connector import Connector
from gateway.kit.errors import GatewayError, Remedy

PATH = "/api/v1/authority"
LIMIT = 64 * 1024
PATIENCE = aiohttp.ClientTimeout(total=30, connect=15)


class ConsoleUnreachableError(GatewayError):
    """The console does not answer."""

    code = "console.unreachable"
    remedy = Remedy.RETRY


class PinMismatchError(GatewayError):
    """Whoever answered is not the console that was meant."""

    code = "console.pin_mismatch"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Claimed:
    """An authority that somebody claims to be: exactly one certificate (PEM, written by us), and its pin."""

    trust: str
    pin: bytes

    @property
    def pin_text(self) -> str:
        """The pin as people compare it: sha256: and 64 hexadecimal digits."""
        return f"sha256:{self.pin.hex()}"


def read_authority(text: str, *, source: str) -> Claimed:
    """Parse the PEM of one authority; `source` is who said it. Raises PinMismatchError for anything else."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(text.encode())
    except ValueError as fault:
        raise PinMismatchError(
            f"{source} does not show exactly one certificate authority: is this a console's address?"
        ) from fault
    return Claimed(certificate.public_bytes(serialization.Encoding.PEM).decode(), spki_pin(certificate))


async def claimed_authority(url: str, *, connector: Connector | None = None) -> Claimed:
    """Return the authority that whoever answers at `url` claims; nothing vouches for it but its pin.

    `connector`, which this uses up, is for who does not call straight. Raises ConsoleUnreachableError,
    PinMismatchError or AnswerTooLargeError.
    """
    try:
        async with (
            aiohttp.ClientSession(connector=connector or Connector(tls.unchecked()), timeout=PATIENCE) as session,
            session.get(f"{url.rstrip('/')}{PATH}", allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise ConsoleUnreachableError(f"{url} answers {answer.status}: is this a console's address?")
            text = (await read_whole(answer, limit=LIMIT)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
        raise ConsoleUnreachableError(
            f"the console at {url} does not answer: {str(fault) or type(fault).__name__}"
        ) from fault
    return read_authority(text, source=url)


async def authority_with_pin(url: str, pins: tuple[bytes, ...], *, connector: Connector | None = None) -> Claimed:
    """Return the console's authority, which has one of `pins`.

    Raises PinMismatchError when it has none of them; nothing but this public request was sent by then.
    """
    claimed = await claimed_authority(url, connector=connector)
    if claimed.pin not in pins:
        raise PinMismatchError(
            f"{url} is not the console that was meant: its pin is {claimed.pin_text}; "
            "look for a proxy that opens TLS, or ask for a new token"
        )
    return claimed
